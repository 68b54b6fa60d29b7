// Makes a small network, compiles it (which starts the compiler, a Python process), and runs it from the bytes that came back.
#include <oarlock/oarlock.h>

#include <iostream>

int main(int argc, char** argv) {
  const std::string target = argc > 1 ? argv[1] : "xpu/r200";
  try {
    oarlock::Network network;
    const oarlock::Value x = network.input("x", {-1, 1, 8, 8});
    std::vector<float> filter(4 * 9), weight(4 * 3), bias = {0.5f, 0, -0.5f};
    for (size_t i = 0; i < filter.size(); ++i) filter[i] = static_cast<float>(i % 5) / 5 - 0.4f;
    for (size_t i = 0; i < weight.size(); ++i) weight[i] = static_cast<float>(i % 7) / 7 - 0.3f;
    oarlock::Value y = network.relu(network.conv2d(x, network.constant(filter, {4, 1, 3, 3}), {1, 1}, {1, 1}));
    y = network.reshape(network.global_avg_pool2d(network.max_pool2d(y, 2, 2)), {0, 4});
    y = network.softmax(network.fc(y, network.constant(weight, {4, 3}), network.constant(bias, {3})));
    network.output("scores", y);
    const oarlock::Model model = network.build(target);

    oarlock::Session session(oarlock::Model::from_memory(model.bytes().data(), model.bytes().size()));
    std::vector<float> pixels(2 * 64);
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<float>(i % 11) / 11;
    session.set_input("x", pixels, {2, 1, 8, 8});
    session.run();
    for (float score : session.output<float>("scores")) std::cout << score << "\n";
  } catch (const oarlock::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
