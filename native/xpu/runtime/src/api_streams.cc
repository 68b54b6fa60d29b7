// The C API over the emulator: streams, events, graphs.
#include <algorithm>

#include "api.h"

using namespace xpu_sim;

extern "C" {

int xpu_stream_create(XPUStream* stream) {
  return guarded(__func__, [&] {
    need(stream, "the result's address is NULL");
    Device& device = current_device();
    *stream = new XPUStreamObj{&device, {}, 0, 0, {XPU_SUCCESS, ""}, false, {}};
    device.streams.push_back(*stream);
  });
}

int xpu_stream_destroy(XPUStream stream) {
  return guarded(__func__, [&] {
    need(stream, "the default stream stays");
    XPUStreamObj* queue = stream_of(stream);
    struct Gone {
      XPUStreamObj* queue;
      ~Gone() {  // also when its work fails
        auto& streams = queue->device->streams;
        streams.erase(std::find(streams.begin(), streams.end(), queue));
        delete queue;
      }
    } gone{queue};
    queue->capturing = false;  // what was recorded goes with it
    drain(queue);
  });
}

int xpu_wait(XPUStream stream) {
  return guarded(__func__, [&] {
    if (stream) {
      drain(stream_of(stream));
    } else {
      drain_device(current_device());
    }
  });
}

int xpu_event_create(XPUEvent* event) {
  return guarded(__func__, [&] {
    need(event, "the result's address is NULL");
    *event = new XPUEventObj();
  });
}

int xpu_event_destroy(XPUEvent event) {
  return guarded(__func__, [&] {
    need(event, "the event is NULL");
    delete event;
  });
}

int xpu_event_record(XPUEvent event, XPUStream stream) {
  return guarded(__func__, [&] {
    need(event, "the event is NULL");
    event->stream = stream_of(stream);
    event->after = event->stream->given;
  });
}

namespace {
// The stream of an event, where it still exists.
XPUStreamObj* alive(XPUStreamObj* stream) {
  for (const auto& device : devices()) {
    if (stream == &device->default_stream) return stream;
    for (XPUStreamObj* known : device->streams)
      if (known == stream) return stream;
  }
  return nullptr;
}
}  // namespace

int xpu_event_wait(XPUEvent event) {
  return guarded(__func__, [&] {
    need(event, "the event is NULL");
    if (XPUStreamObj* stream = alive(event->stream)) drain(stream, event->after);
  });
}

int xpu_stream_wait_event(XPUStream stream, XPUEvent event) {
  return guarded(__func__, [&] {
    need(event, "the event is NULL");
    XPUStreamObj *queue = stream_of(stream), *other = event->stream;
    if (queue->capturing) fail(XPUERR_BUSY, "the stream is captured: a graph does not wait for events");
    const uint64_t after = event->after;
    if (other && other != queue)
      submit(queue, [=] {
        if (XPUStreamObj* there = alive(other)) drain(there, after);
      });
  });
}

int xpu_stream_begin_capture(XPUStream stream) {
  return guarded(__func__, [&] {
    XPUStreamObj* queue = stream_of(stream);
    if (queue->capturing) fail(XPUERR_BUSY, "the stream is captured already");
    queue->capturing = true;
    queue->recorded.clear();
  });
}

int xpu_stream_end_capture(XPUStream stream, XPUGraph* graph) {
  return guarded(__func__, [&] {
    need(graph, "the result's address is NULL");
    XPUStreamObj* queue = stream_of(stream);
    need(queue->capturing, "the stream is not captured");
    queue->capturing = false;
    *graph = new XPUGraphObj{std::make_shared<const std::vector<std::function<void()>>>(std::move(queue->recorded))};
    queue->recorded.clear();
  });
}

int xpu_graph_launch(XPUGraph graph, XPUStream stream) {
  return guarded(__func__, [&] {
    need(graph, "the graph is NULL");
    XPUStreamObj* queue = stream_of(stream);
    if (queue->capturing) fail(XPUERR_BUSY, "the stream is captured: a graph does not launch graphs");
    submit(queue, [queue, jobs = graph->jobs] {
      Device& device = *queue->device;
      ++device.graphs.launches;
      device.graphs.modelled_ns += device.chip->launch_us * 1e3;
      graph_starts() = true;
      for (const auto& job : *jobs) job();
    });
  });
}

int xpu_graph_destroy(XPUGraph graph) {
  return guarded(__func__, [&] {
    need(graph, "the graph is NULL");
    delete graph;
  });
}
}
