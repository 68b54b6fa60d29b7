// Runs a compiled model that comes as a stream, with no Python in the process, and prints the mean of every output and its first numbers.
//
//     oarlock compile model --target xpu/r200 -o - | ./classify 1 3 224 224
//
// The dims are those of the model's inputs, all of float32, each of which is filled with 0, 0.1, …, 0.9, 0, …
#include <oarlock/oarlock.h>

#include <cstdlib>
#include <iostream>

int main(int argc, char** argv) {
  try {
    oarlock::Session session(oarlock::Model::from_stream(std::cin));
    std::cout << session.target() << (session.chip().empty() ? "" : " on a " + session.chip()) << "\n";
    int next = 1;
    for (const oarlock::Tensor& input : session.inputs()) {
      oarlock::Shape shape;
      size_t count = 1;
      for (const std::string& dim : input.dims) {
        const int64_t size = next < argc ? std::atoll(argv[next++]) : std::atoll(dim.c_str());
        shape.push_back(size);
        count *= static_cast<size_t>(size);
      }
      std::vector<float> values(count);
      for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i % 10) / 10;
      session.set_input(input.name, values, shape);
    }
    session.run();
    for (const oarlock::Tensor& output : session.outputs()) {
      const std::vector<float> values = session.output<float>(output.name);
      double sum = 0;
      for (float value : values) sum += value;
      std::cout << output.name << " mean " << (values.empty() ? 0 : sum / static_cast<double>(values.size())) << ":";
      for (size_t i = 0; i < values.size() && i < 5; ++i) std::cout << " " << values[i];
      std::cout << "\n";
    }
  } catch (const oarlock::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
