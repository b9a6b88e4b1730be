#include "train/preview.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "providers/reference/reference.hpp"
#include "quern/error.hpp"
#include "train/partition.hpp"

namespace quern {
namespace {

OpDesc input_desc(const ModelSpec& spec, const Split& images, std::int64_t order, std::int64_t batch) {
  InputBatchAttrs attrs;
  attrs.mean = spec.mean;
  attrs.stddev = spec.stddev;
  attrs.augment = spec.recipe.augment;
  OpDesc desc;
  desc.op = {OpKind::input_batch, Direction::forward};
  desc.attrs = attrs;
  desc.inputs = {{DType::u8, {images.count, images.height, images.width, images.channels}},
                 {DType::u8, {images.count}},
                 {DType::u32, {order}},
                 {DType::u8, {sizeof(StepScalars)}}};
  desc.outputs = {{DType::f32, {batch, images.height, images.width, images.channels}}, {DType::i32, {batch}}};
  return desc;
}

/// The first images of every class in turn until there are `count`, ordered by class.
std::vector<std::uint32_t> rows_of(const TrainingView& view, const Split& images, int count) {
  std::map<int, std::vector<std::uint32_t>> by_class;
  for (const std::uint32_t index : view.training_images()) by_class[images.labels[index]].push_back(index);
  std::map<int, std::size_t> taken;
  const auto wanted = std::min(static_cast<std::size_t>(count), view.training_images().size());
  for (std::size_t total = 0, turn = 0; total < wanted; ++turn)
    for (const auto& [label, members] : by_class)
      if (turn < members.size() && total < wanted) ++taken[label], ++total;
  std::vector<std::uint32_t> rows;
  for (const auto& [label, number] : taken)
    rows.insert(rows.end(), by_class[label].begin(),
                by_class[label].begin() + static_cast<std::ptrdiff_t>(number));
  return rows;
}

/// Cells on a grey ground, so that black edges of an image show.
class Sheet {
 public:
  Sheet(const Split& images, int zoom, int rows, int columns)
      : zoom_(zoom),
        height_(static_cast<int>(images.height) * zoom),
        width_(static_cast<int>(images.width) * zoom),
        channels_(static_cast<int>(images.channels)) {
    result_.width = kGap + columns * (width_ + kGap) + kOriginalGap;
    result_.height = kGap + rows * (height_ + kGap);
    result_.pixels.assign(
        static_cast<std::size_t>(result_.width) * static_cast<std::size_t>(result_.height) * 3, kGround);
  }

  void put(int row, int column, std::span<const std::uint8_t> pixels) {
    const int top = kGap + row * (height_ + kGap);
    const int left = kGap + column * (width_ + kGap) + (column > 0 ? kOriginalGap : 0);
    for (int y = 0; y < height_; ++y)
      for (int x = 0; x < width_; ++x)
        for (int c = 0; c < 3; ++c)
          result_.pixels[static_cast<std::size_t>(((top + y) * result_.width + left + x) * 3 + c)] =
              pixels[static_cast<std::size_t>((y / zoom_ * (width_ / zoom_) + x / zoom_) * channels_ +
                                              (channels_ == 3 ? c : 0))];
  }
  RgbImage take() { return std::move(result_); }

 private:
  static constexpr int kGap = 3, kOriginalGap = 6;
  static constexpr std::uint8_t kGround = 88;
  int zoom_, height_, width_, channels_;
  RgbImage result_;
};

}  // namespace

TrainingView::TrainingView(const ModelSpec& spec, const Split& images, const RunSettings& run)
    : spec_(spec), images_(images), seed_(run.seed), partition_(training_partition(images, run)) {
  validate(spec.recipe);
  check_image_size(spec, images, "the training set");
  batch_ = spec.recipe.batch_size;
  steps_per_epoch_ = steps_in_epoch(static_cast<std::int64_t>(partition_.train.size()), batch_);
}

std::vector<float> TrainingView::image(std::uint32_t index, std::uint32_t epoch) {
  if (order_epoch_ != epoch) {
    order_ = shuffled_order(partition_.train, seed_, epoch);
    order_epoch_ = epoch;
  }
  const auto found = std::find(order_.begin(), order_.end(), index);
  QUERN_REQUIRE(found != order_.end(), "image {} is not trained on", index);
  const std::int64_t position = found - order_.begin(), step = position / batch_;
  const auto count = static_cast<std::int64_t>(order_.size());
  // Samples of a batch do not depend on those behind them.
  const std::int64_t place = position % batch_;
  const OpDesc desc = input_desc(spec_, images_, count, place + 1);
  StepScalars scalars;
  scalars.seed = seed_;
  scalars.step = static_cast<std::uint32_t>(epoch * steps_per_epoch_ + step);
  scalars.order_offset = static_cast<std::uint32_t>(step * batch_);
  const auto pixels = static_cast<std::size_t>(images_.pixels_per_image());
  std::vector<float> x(static_cast<std::size_t>(place + 1) * pixels);
  std::vector<std::int32_t> y(static_cast<std::size_t>(place + 1));
  // Operands are untyped and mutable; the operation only reads its inputs.
  void* const in[] = {const_cast<std::uint8_t*>(images_.images.data()),
                      const_cast<std::uint8_t*>(images_.labels.data()), order_.data(), &scalars};
  void* const out[] = {x.data(), y.data()};
  reference::run<float>(desc, {in, out, nullptr, {}});
  return {x.end() - static_cast<std::ptrdiff_t>(pixels), x.end()};
}

std::vector<std::uint8_t> TrainingView::pixels(std::uint32_t index, std::uint32_t epoch) {
  std::vector<std::uint8_t> result;
  for (const float x : image(index, epoch)) {
    const double pixel =
        (static_cast<double>(x) * static_cast<double>(spec_.stddev) + static_cast<double>(spec_.mean)) * 255;
    result.push_back(static_cast<std::uint8_t>(std::lround(std::clamp(pixel, 0.0, 255.0))));
  }
  return result;
}

RgbImage preview_sheet(TrainingView& view, const Split& images, const SheetOptions& options) {
  const auto in_range = [](const char* flag, int value, int low, int high) {
    if (value < low || value > high) fail_input("{} {}: must be from {} to {}", flag, value, low, high);
  };
  in_range("--images", options.images, 1, 1000);
  in_range("--draws", options.draws, 0, 100);
  in_range("--zoom", options.zoom, 1, 16);
  const std::vector<std::uint32_t> rows = rows_of(view, images, options.images);
  Sheet sheet(images, options.zoom, static_cast<int>(rows.size()), options.draws + 1);
  for (std::size_t row = 0; row < rows.size(); ++row)
    sheet.put(static_cast<int>(row), 0, images.image(rows[row]));
  for (int draw = 0; draw < options.draws; ++draw)  // outermost: an epoch's order is made once
    for (std::size_t row = 0; row < rows.size(); ++row)
      sheet.put(static_cast<int>(row), draw + 1, view.pixels(rows[row], static_cast<std::uint32_t>(draw)));
  return sheet.take();
}

}  // namespace quern
