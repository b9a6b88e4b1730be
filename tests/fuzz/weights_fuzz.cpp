/// Weights trained elsewhere, in the names and layouts of PyTorch and Keras: as a file, and with its header's
/// length put right.

#include <unistd.h>

#include <cmath>

#include "quern/exchange.hpp"
#include "quern/file.hpp"
#include "tests/exchange/models.hpp"
#include "tests/fuzz/safetensors_file.hpp"

using namespace quern;

namespace {

const std::vector<ModelSpec>& specs() {
  static const std::vector<ModelSpec> specs{test::model(test::kResidual), test::model(test::kFlattened)};
  return specs;
}

void read(std::span<const std::byte> content) {
  for (const ModelSpec& spec : specs())
    for (const std::optional<WeightHome> home :
         {std::optional<WeightHome>(), std::optional(WeightHome::torch), std::optional(WeightHome::keras)})
      fuzz::expect_success_or_input_error([&] {
        const SafetensorsFile file = SafetensorsFile::parse(content, "fuzz.safetensors");
        const std::vector<float> weights = import_weights(file, spec, {home, {{"old", "a"}, {"", "b"}}});
        if (static_cast<std::int64_t>(weights.size()) != weight_layout(spec).total_elements)
          fuzz::fail("weights of another size");
        for (const float weight : weights)
          if (!std::isfinite(weight)) fuzz::fail("a weight that is not finite");
      });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto content = fuzz::as_bytes(data, size);
  read(content);
  if (content.size() > 8) read(fuzz::repair_length(content));
  return 0;
}

std::vector<fuzz::Bytes> fuzz::seeds() {
  std::vector<Bytes> seeds;
  const std::string pattern = (std::filesystem::temp_directory_path() / "quern-seed-XXXXXX").string();
  for (const ModelSpec& spec : specs())
    for (const WeightHome home : {WeightHome::torch, WeightHome::keras}) {
      std::string path = pattern;
      const int file = mkstemp(path.data());
      if (file < 0) fail("no temporary file");
      close(file);
      if (spec.layers[0].kind == OpKind::conv2d || home == WeightHome::keras) {
        export_weights(path, spec, test::weights_for(spec), home);
        seeds.push_back(read_file(path, 1 << 20));
      }
      std::filesystem::remove(path);
    }
  return seeds;
}

// The largest seeds are of some kilobytes, and so are the models' weights.
std::size_t fuzz::allocation_limit(std::size_t input_bytes) {
  return 16 * input_bytes + (128 << 10);
}
