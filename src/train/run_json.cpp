#include "train/run_json.hpp"

#include <zlib.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "graph/json_reader.hpp"
#include "quern/error.hpp"

namespace quern {
namespace {

constexpr std::int64_t kMany = std::int64_t{1} << 40;  // images, steps, epochs: far more than any run has
constexpr double kHuge = std::numeric_limits<double>::max();

}  // namespace

bool parse_on_nan(std::string_view text, std::string_view where) {
  if (text != "stop" && text != "skip") fail_input("{} {}: use stop or skip", where, text);
  return text == "skip";
}

DataFingerprint fingerprint_of(const Split& images) {
  return {images.count, images.height, images.width, images.channels,
          static_cast<std::uint32_t>(crc32_z(0, images.labels.data(), images.labels.size()))};
}

nlohmann::json to_json(const DataFingerprint& data) {
  return {{"images", data.images},
          {"height", data.height},
          {"width", data.width},
          {"channels", data.channels},
          {"labels_crc32", data.labels_crc32}};
}

nlohmann::json to_json(const RunSettings& run) {
  return {{"seed", run.seed},
          {"data", run.data},
          {"fingerprint", to_json(run.fingerprint)},
          {"class_names", run.class_names},
          {"validation", run.validation},
          {"limit_train", run.limit_train},
          {"limit_test", run.limit_test},
          {"early_stop", run.early_stop},
          {"on_nan", run.skip_nonfinite ? "skip" : "stop"},
          {"device", run.device},
          {"threads", run.threads},
          {"precision", run.precision},
          {"fuse", run.fuse},
          {"impls", run.impls},
          {"allow_nondeterministic", run.allow_nondeterministic}};
}

nlohmann::json to_json(const TrainState& state) {
  nlohmann::json json = {{"step", state.step},
                         {"epoch", state.epoch},
                         {"step_in_epoch", state.step_in_epoch},
                         {"sums",
                          {{"loss_sum", state.sums.loss_sum},
                           {"correct", state.sums.correct},
                           {"count", state.sums.count},
                           {"nonfinite", state.sums.nonfinite}}},
                         {"skipped", state.skipped},
                         {"skipped_in_a_row", state.skipped_in_a_row},
                         {"best_epoch", state.best_epoch},
                         {"best_accuracy", state.best_accuracy},
                         {"epochs_since_lowest", state.epochs_since_lowest},
                         {"stopped_early", state.stopped_early}};
  if (state.lowest_loss) json["lowest_loss"] = *state.lowest_loss;
  return json;
}

static RunSettings read_run_settings(std::string_view text, const std::string& where) {
  const nlohmann::json json = parse_json(text, where);
  JsonReader reader(json, where);
  RunSettings run;
  const nlohmann::json& seed = reader.raw("seed");
  if (!seed.is_number_unsigned()) reader.fail("'seed' must be a whole number, not negative");
  run.seed = seed.get<std::uint64_t>();
  run.data = reader.string("data");
  JsonReader data(reader.raw("fingerprint"), where + ": fingerprint");
  run.fingerprint.images = data.integer("images", 0, kMany);
  run.fingerprint.height = data.integer("height", 0, kMany);
  run.fingerprint.width = data.integer("width", 0, kMany);
  run.fingerprint.channels = data.integer("channels", 0, kMany);
  run.fingerprint.labels_crc32 = static_cast<std::uint32_t>(data.integer("labels_crc32", 0, 0xFFFFFFFF));
  data.finish();
  run.validation = reader.integer("validation", 0, kMany);
  run.limit_train = reader.integer("limit_train", 0, kMany);
  run.limit_test = reader.integer("limit_test", 0, kMany);
  run.early_stop = static_cast<int>(reader.integer("early_stop", 0, 1'000'000));
  if (reader.has("on_nan")) run.skip_nonfinite = parse_on_nan(reader.string("on_nan"), where + ": on_nan");
  run.device = reader.string("device");
  run.threads = static_cast<int>(reader.integer("threads", 0, 1'000'000));
  run.precision = reader.string("precision");
  run.fuse = reader.boolean("fuse", true);
  run.impls = reader.strings("impls");
  run.allow_nondeterministic = reader.boolean("allow_nondeterministic", false);
  run.class_names = reader.strings("class_names");
  reader.finish();
  return run;
}

static TrainState read_train_state(std::string_view text, const std::string& where) {
  const nlohmann::json json = parse_json(text, where);
  JsonReader reader(json, where);
  TrainState state;
  state.step = reader.integer("step", 0, kMany);
  state.epoch = reader.integer("epoch", 0, kMany);
  state.step_in_epoch = reader.integer("step_in_epoch", 0, kMany);
  JsonReader sums(reader.raw("sums"), where + ": sums");
  state.sums.loss_sum = sums.number("loss_sum", -kHuge, kHuge);
  state.sums.correct = sums.number("correct", 0, kHuge);
  state.sums.count = sums.number("count", 0, kHuge);
  state.sums.nonfinite = sums.number("nonfinite", 0, kHuge);
  sums.finish();
  if (reader.has("skipped")) state.skipped = reader.integer("skipped", 0, kMany);
  if (reader.has("skipped_in_a_row")) state.skipped_in_a_row = reader.integer("skipped_in_a_row", 0, kMany);
  state.best_epoch = reader.integer("best_epoch", 0, kMany);
  state.best_accuracy = reader.number("best_accuracy", 0, 1);
  if (reader.has("lowest_loss")) state.lowest_loss = reader.number("lowest_loss", -kHuge, kHuge);
  state.epochs_since_lowest = static_cast<int>(reader.integer("epochs_since_lowest", 0, 1'000'000));
  state.stopped_early = reader.boolean("stopped_early", false);
  reader.finish();
  return state;
}

RunSettings parse_run_settings(std::string_view text, const std::string& where) {
  return with_clean_messages([&] { return read_run_settings(text, where); });
}

TrainState parse_train_state(std::string_view text, const std::string& where) {
  return with_clean_messages([&] { return read_train_state(text, where); });
}

}  // namespace quern
