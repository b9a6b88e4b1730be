// A program outside the tree that uses Quern as a library: it trains a preset's network on images it makes
// itself.

#include <array>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "quern/device.hpp"
#include "quern/executor.hpp"
#include "quern/graph.hpp"
#include "quern/model_spec.hpp"
#include "quern/philox.hpp"
#include "quern/plan.hpp"
#include "quern/version.hpp"

namespace {

constexpr std::int64_t kImages = 32;

// Images of class c are dark but for rows 2c and 2c + 1, with noise.
std::vector<std::uint8_t> make_images(const std::vector<std::uint8_t>& labels) {
  std::vector<std::uint8_t> images;
  for (std::size_t n = 0; n < labels.size(); ++n)
    for (std::uint32_t pixel = 0; pixel < 28 * 28; ++pixel) {
      const std::uint32_t noise =
          quern::philox_u32(1, quern::RandomPurpose::test, static_cast<std::uint32_t>(n), 0, pixel) % 64;
      images.push_back(static_cast<std::uint8_t>(noise + (pixel / 56 == labels[n] ? 191 : 0)));
    }
  return images;
}

// Mean loss of an epoch of one batch, before and after some steps.
int train() {
  const quern::ModelSpec spec =
      quern::load_model_spec((std::filesystem::path(QUERN_TEST_MODELS) / "seed-bn.json").string());
  const quern::Registry registry = quern::Registry::with_all_providers();
  const auto device = quern::open_device("cpu");

  quern::GraphOptions options;
  options.batch = options.dataset_images = options.order_length = kImages;
  quern::Executor executor(quern::make_plan(quern::build_graph(spec, options), registry, device->info()),
                           *device);

  const quern::WeightLayout layout = quern::weight_layout(spec);
  std::vector<float> weights(static_cast<std::size_t>(layout.total_elements));
  quern::initialize_weights(layout, 1, weights);
  std::vector<std::uint8_t> labels;
  std::vector<std::uint32_t> order;
  for (std::uint32_t n = 0; n < kImages; ++n) {
    labels.push_back(static_cast<std::uint8_t>(n % 10));
    order.push_back(n);
  }
  const std::vector<std::uint8_t> images = make_images(labels);

  // Every value that lives outside the graph gets a buffer of the size the graph says, zeroed.
  std::map<std::string, quern::Buffer> buffers;
  quern::Bindings bindings;
  for (const quern::Value& value : executor.plan().graph.values) {
    if (value.storage == quern::Storage::transient || value.alias_of != quern::kNoValue) continue;
    quern::Buffer buffer(*device, value.desc.bytes());
    device->fill(buffer.data(), 0, buffer.size(), {});
    bindings[value.name] = buffer.data();
    buffers[value.name] = std::move(buffer);
  }
  const auto put = [&](const char* name, const void* data, std::size_t bytes) {
    device->copy_to_device(bindings.at(name), data, bytes, {});
  };
  put(quern::names::kWeights, weights.data(), weights.size() * sizeof(float));
  put(quern::names::kImages, images.data(), images.size());
  put(quern::names::kLabels, labels.data(), labels.size());
  put(quern::names::kOrder, order.data(), order.size() * sizeof(std::uint32_t));
  executor.bind(bindings);

  double first = 0, last = 0, power1 = 1, power2 = 1;
  for (std::uint32_t step = 0; step < 12; ++step) {
    power1 *= spec.recipe.beta1;
    power2 *= spec.recipe.beta2;
    quern::StepScalars scalars;
    scalars.seed = 1;
    scalars.step = step;
    scalars.learning_rate = 1e-3f;
    scalars.bias_correction1 = static_cast<float>(1 - power1);
    scalars.bias_correction2 = static_cast<float>(1 - power2);
    quern::Metrics metrics;
    put(quern::names::kStep, &scalars, sizeof scalars);
    put(quern::names::kMetrics, &metrics, sizeof metrics);
    executor.run();
    device->copy_to_host(&metrics, bindings.at(quern::names::kMetrics), sizeof metrics, {});
    device->synchronize({});
    last = metrics.loss_sum / metrics.count;
    if (step == 0) first = last;
  }
  std::printf("loss %.4f -> %.4f\n", first, last);
  return last < 0.5 * first ? 0 : 1;
}

}  // namespace

int main() {
  std::printf("quern %s\n", quern::version());
  // The first known answer of the generator's authors.
  const quern::Philox4 block = quern::philox4x32_10({0, 0, 0, 0}, 0);
  if (block.x != 0x6627e8d5u || block.w != 0x9b00dbd8u) return 1;
  try {
    return train();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
