#include "quern/checkpoint.hpp"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "graph/json_reader.hpp"
#include "quern/error.hpp"
#include "quern/safetensors.hpp"
#include "quern/version.hpp"
#include "train/run_json.hpp"

namespace quern {
namespace {

constexpr const char* kFormat = "quern-checkpoint/1";

/// A flat vector of the checkpoint, and under which name its tensors are stored.
struct Group {
  std::string prefix;
  bool trained_only;  ///< optimizer slots have no part for running statistics
};
const Group kModel{"model/", false};
const Group kSlot1{"optimizer.slot1/", true};
const Group kSlot2{"optimizer.slot2/", true};
const Group kEma{"ema/", false};

int optimizer_slots(const Recipe& recipe) {
  OptimizerAttrs attrs;
  attrs.kind = recipe.optimizer;
  return attrs.slots();
}

std::size_t group_elements(const WeightLayout& layout, const Group& group) {
  return static_cast<std::size_t>(group.trained_only ? layout.trained_elements : layout.total_elements);
}

void store_group(std::vector<TensorToStore>& tensors, const WeightLayout& layout, const Group& group,
                 std::span<const float> values) {
  QUERN_REQUIRE(values.size() == group_elements(layout, group), "{} has {} elements, the layout {}",
                group.prefix, values.size(), group_elements(layout, group));
  for (const WeightTensor& tensor : layout.tensors) {
    if (group.trained_only && !tensor.trained) continue;
    const auto extents = tensor.shape.extents();
    tensors.push_back({group.prefix + tensor.name,
                       StoredType::f32,
                       {extents.begin(), extents.end()},
                       std::as_bytes(values.subspan(static_cast<std::size_t>(tensor.offset),
                                                    static_cast<std::size_t>(tensor.shape.elements())))});
  }
}

std::vector<float> load_group(const SafetensorsFile& file, const WeightLayout& layout, const Group& group,
                              std::size_t& used) {
  std::vector<float> values(group_elements(layout, group), 0.0f);
  for (const WeightTensor& tensor : layout.tensors) {
    if (group.trained_only && !tensor.trained) continue;
    const StoredTensor& stored = file.at(group.prefix + tensor.name);
    const auto extents = tensor.shape.extents();
    if (stored.dtype != StoredType::f32 ||
        !std::equal(stored.shape.begin(), stored.shape.end(), extents.begin(), extents.end()))
      fail_input("{}: tensor '{}{}' is {}[{}], its model has F32[{}]: the file belongs to another model",
                 file.name(), group.prefix, tensor.name, to_string(stored.dtype),
                 fmt::join(stored.shape, "x"), to_string(tensor.shape));
    std::memcpy(values.data() + tensor.offset, stored.bytes.data(), stored.bytes.size());
    ++used;
  }
  return values;
}

const std::string& metadata(const SafetensorsFile& file, std::string_view key) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end())
    fail_input("{}: no checkpoint of Quern: its metadata lack '{}'", file.name(), key);
  return found->second;
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint) {
  const WeightLayout layout = weight_layout(checkpoint.spec);
  std::vector<TensorToStore> tensors;
  store_group(tensors, layout, kModel, checkpoint.weights);
  if (!checkpoint.slot1.empty()) store_group(tensors, layout, kSlot1, checkpoint.slot1);
  if (!checkpoint.slot2.empty()) store_group(tensors, layout, kSlot2, checkpoint.slot2);
  if (!checkpoint.ema.empty()) store_group(tensors, layout, kEma, checkpoint.ema);
  write_safetensors(path, tensors,
                    {{"format", kFormat},
                     {"quern_version", version()},
                     {"rng", kRandomScheme},
                     {"model", to_json(checkpoint.spec).dump()},
                     {"run", to_json(checkpoint.run).dump()},
                     {"state", to_json(checkpoint.state).dump()}});
}

Checkpoint load_checkpoint(const std::filesystem::path& path) {
  const SafetensorsFile file = SafetensorsFile::load(path);
  if (metadata(file, "format") != kFormat)
    fail_input("{}: its format is '{}', this build reads {}: use the version of Quern that wrote it",
               path.string(), metadata(file, "format"), kFormat);
  if (metadata(file, "rng") != kRandomScheme)
    fail_input(
        "{}: its random numbers follow the scheme '{}', this build's {}: use the version of Quern that wrote "
        "it",
        path.string(), metadata(file, "rng"), kRandomScheme);
  Checkpoint checkpoint;
  checkpoint.spec = parse_model_spec(metadata(file, "model"), path.string() + ": model");
  checkpoint.run = parse_run_settings(metadata(file, "run"), path.string() + ": run");
  checkpoint.state = parse_train_state(metadata(file, "state"), path.string() + ": state");

  const WeightLayout layout = weight_layout(checkpoint.spec);
  const int slots = optimizer_slots(checkpoint.spec.recipe);
  std::size_t used = 0;
  checkpoint.weights = load_group(file, layout, kModel, used);
  if (slots >= 1) checkpoint.slot1 = load_group(file, layout, kSlot1, used);
  if (slots >= 2) checkpoint.slot2 = load_group(file, layout, kSlot2, used);
  if (checkpoint.spec.recipe.ema_decay > 0) checkpoint.ema = load_group(file, layout, kEma, used);
  if (used != file.tensors().size())
    fail_input("{}: {} tensors, its model '{}' has {}: the file belongs to another model", path.string(),
               file.tensors().size(), checkpoint.spec.name, used);
  return checkpoint;
}

std::filesystem::path find_checkpoint(const std::filesystem::path& file_or_run, bool resume) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (!fs::is_directory(file_or_run, ignored)) {
    if (!fs::exists(file_or_run, ignored))
      fail_input("{}: no such file or folder: give a checkpoint or a run folder", file_or_run.string());
    return file_or_run;
  }
  fs::path last = file_or_run / "last.safetensors", best = file_or_run / "best.safetensors";
  if (!resume && fs::exists(best, ignored)) return best;
  if (fs::exists(last, ignored)) return last;
  fail_input("{}: no last.safetensors in this folder: nothing was saved there", file_or_run.string());
}

std::string weights_hash(const WeightLayout& layout, std::span<const float> weights) {
  // Fowler, Noll, Vo: http://www.isthe.com/chongo/tech/comp/fnv
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const WeightTensor& tensor : layout.tensors)
    for (const std::byte byte : std::as_bytes(weights.subspan(
             static_cast<std::size_t>(tensor.offset), static_cast<std::size_t>(tensor.shape.elements()))))
      hash = (hash ^ static_cast<std::uint8_t>(byte)) * 0x100000001b3u;
  return fmt::format("{:016x}", hash);
}

}  // namespace quern
