#include "train/preview.hpp"

#include <gmock/gmock.h>

#include <map>

#include "quern/error.hpp"
#include "tests/train/small_world.hpp"

namespace quern {
namespace {

using namespace test;

/// Every image of every epoch, as its batch left input_batch.
class Witness : public NodeObserver {
 public:
  using Key = std::pair<std::uint32_t, std::uint32_t>;  // epoch, index

  void before(const PlannedNode&, const RunArgs&) override {}
  void after(const PlannedNode& node, const RunArgs& args) override {
    if (node.desc.op.kind != OpKind::input_batch) return;
    const auto* order = static_cast<const std::uint32_t*>(args.in[2]);
    const auto* step = static_cast<const StepScalars*>(args.in[3]);
    const auto* x = static_cast<const float*>(args.out[0]);
    const Shape& shape = node.desc.outputs[0].shape;
    const std::int64_t pixels = shape.elements() / shape[0];
    for (std::int64_t n = 0; n < shape[0]; ++n)
      seen[{step->epoch, order[step->order_offset + n]}].assign(x + n * pixels, x + (n + 1) * pixels);
  }

  std::map<Key, std::vector<float>> seen;
};

// Whole and ragged batches, images held out, every epoch.
TEST(Preview, IsWhatTrainingSees) {
  const Split data = small_images(80);
  ModelSpec spec = small_model(R"({"epochs": 3, "batch_size": 16,
      "augment": {"shift": 1, "rotate": 10, "scale": 0.1, "shear": 5, "elastic": 1.5, "erase": 4,
      "flip": 0.5, "crop": 2}})");
  spec.mean = 0.25f;
  spec.stddev = 0.5f;
  RunSettings settings;
  settings.seed = 9;
  settings.validation = 10;
  settings.limit_train = 55;
  SmallRun run(spec, data, settings, cpu({"input_batch.forward=reference"}));
  Witness witness;
  run.trainer.watch(1, [&](Executor& executor, std::int64_t) { executor.run(witness); });
  run.train();
  ASSERT_EQ(witness.seen.size(), 3u * 55u);
  TrainingView view(spec, data, settings);
  ASSERT_EQ(view.training_images().size(), 55u);
  for (const auto& [key, image] : witness.seen)
    ASSERT_EQ(view.image(key.second, key.first), image) << "epoch " << key.first << " image " << key.second;
}

TEST(Preview, UndoesTheNormalisation) {
  const Split data = small_images(20);
  ModelSpec spec = small_model(R"({"batch_size": 4})");
  spec.mean = 0.1307f;
  spec.stddev = 0.3081f;
  TrainingView view(spec, data, {});
  for (const std::uint32_t index : {0u, 7u, 19u}) {
    const auto original = data.image(index);
    EXPECT_EQ(view.pixels(index, 2), std::vector<std::uint8_t>(original.begin(), original.end()));
  }
}

TEST(Preview, SheetHasOriginalsOnTheLeftAndRowsByClass) {
  const Split data = small_images(20);  // classes 0, 1, 2, 3, 0, 1, ...
  const ModelSpec spec = small_model(R"({"batch_size": 4, "augment": {"shift": 2}})");
  TrainingView view(spec, data, {});
  const RgbImage sheet = preview_sheet(view, data, {6, 2, 1});
  EXPECT_EQ(sheet.width, 3 + 3 * (8 + 3) + 6);
  EXPECT_EQ(sheet.height, 3 + 6 * (8 + 3));
  const auto cell = [&](int top, int left) {
    std::vector<std::uint8_t> pixels;
    for (int y = 0; y < 8; ++y)
      for (int x = 0; x < 8; ++x)
        pixels.push_back(
            sheet.pixels[static_cast<std::size_t>(((top + y) * sheet.width + left + x) * 3 + 1)]);
    return pixels;
  };
  const std::uint32_t rows[] = {0, 4, 1, 5, 2, 3};
  for (int row = 0; row < 6; ++row) {
    const auto original = data.image(rows[row]);
    EXPECT_EQ(cell(3 + row * 11, 3), std::vector<std::uint8_t>(original.begin(), original.end())) << row;
    EXPECT_EQ(cell(3 + row * 11, 3 + 6 + 11), view.pixels(rows[row], 0)) << row;
    EXPECT_EQ(cell(3 + row * 11, 3 + 6 + 22), view.pixels(rows[row], 1)) << row;
  }
}

TEST(Preview, RefusesWhatTrainingRefuses) {
  const Split data = small_images(20);
  const ModelSpec spec = small_model(R"({"batch_size": 15})");
  RunSettings run;
  run.validation = 6;
  EXPECT_THROW(TrainingView(spec, data, run), Error);  // 14 are left
  run.validation = 20;
  EXPECT_THROW(TrainingView(spec, data, run), Error);
  ModelSpec larger = spec;
  larger.width = 9;
  EXPECT_THROW(TrainingView(larger, data, {}), Error);
}

}  // namespace
}  // namespace quern
