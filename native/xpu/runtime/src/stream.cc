// Streams: work is done in order, as late as possible — when somebody waits for it.  A host that forgets to wait sees old data, always.
#include "sim.h"

namespace xpu_sim {

void submit(XPUStreamObj* stream, std::function<void()> job) {
  if (stream->capturing) {
    stream->recorded.push_back(std::move(job));
    return;
  }
  stream->jobs.push_back(std::move(job));
  ++stream->given;
}

void work(XPUStreamObj* stream, uint64_t until) {
  while (stream->done < until && !stream->jobs.empty()) {
    std::function<void()> job = std::move(stream->jobs.front());
    stream->jobs.pop_front();
    ++stream->done;
    try {
      job();
    } catch (const Error& error) {
      // what was queued behind a failure would compute on garbage
      stream->done = stream->given;
      stream->jobs.clear();
      stream->failed = error;
    }
  }
}

void drain(XPUStreamObj* stream, uint64_t until) {
  if (stream->capturing) fail(XPUERR_BUSY, "the stream is captured, and nothing can wait for it until xpu_stream_end_capture");
  work(stream, until);
  if (stream->failed.code) {
    Error error = stream->failed;
    stream->failed = {XPU_SUCCESS, ""};
    throw error;
  }
}

void drain_device(Device& device) {
  drain(&device.default_stream);
  for (XPUStreamObj* stream : std::vector<XPUStreamObj*>(device.streams)) drain(stream);
}

void work_device(Device& device) {
  work(&device.default_stream);
  for (XPUStreamObj* stream : std::vector<XPUStreamObj*>(device.streams)) work(stream);
}

}  // namespace xpu_sim
