// Direct convolution on NHWC: forward and backward to the data by gathering (conv_plan.hpp), the weight
// gradient by outer products. Serves every shape; statistics, bias, ReLU and mask are applied while outputs
// are in registers.
//
// Weights are repacked on every run (they change every step) into panels of output channels: 18,432 of them
// for seed-bn's second layer, some microseconds, where the library's own format costs a reorder each way.

#include <algorithm>
#include <cstring>

#include "providers/onednn/conv_plan.hpp"
#include "providers/onednn/moments.hpp"
#include "providers/onednn/support.hpp"

namespace quern::onednn {

namespace {

/// Forward, or backward to the data, which differ in their plans and in how weights are packed.
class DirectConv final : public ImageExecutable {
 public:
  DirectConv(const OpDesc& desc, int threads)
      : ImageExecutable(threads, desc.inputs[0].shape[0]),
        kernels_(kernels()),
        forward_(desc.op.direction == Direction::forward),
        attrs_(desc.as<Conv2dAttrs>()),
        shape_(ConvShape::of(desc)),
        out_channels_(forward_ ? shape_.k : shape_.c),
        group_out_(out_channels_ / shape_.groups) {
    if (forward_)
      plans_.push_back(forward_plan(shape_, threads, false));
    else
      plans_ = backward_data_plans(shape_, threads);
    Layout layout;
    std::size_t scratch = 0;
    for (const GatherPlan& plan : plans_) {
      packed_group_.push_back(plan.n_taps() * round_up(group_out_, kernels_.lanes));
      packed_.push_back(layout.add<float>(static_cast<std::size_t>(packed_group_.back() * shape_.groups)));
      scratch = std::max(scratch, plan.scratch_floats());
      if (!forward_) pack_offsets_.push_back(data_offsets(plan));
    }
    scratch_step_ = static_cast<std::size_t>(round_up(static_cast<std::int64_t>(scratch), 32));
    scratch_ = layout.add<float>(scratch_step_ * static_cast<std::size_t>(threads));
    moments_step_ = attrs_.stats ? Moments::bytes(shape_.k) : 0;
    moments_ = layout.add<std::byte>(moments_step_ * static_cast<std::size_t>(threads));
    bytes_ = layout.bytes();
  }

  std::size_t workspace_bytes() const override { return bytes_; }

  bool reads_by_image(std::size_t slot) const override { return slot == 0 || (!forward_ && slot == 2); }
  bool writes_by_image(std::size_t slot) const override { return slot == 0; }
  std::size_t resident_bytes() const override { return bytes_; }
  int prepare_phases() const override { return 1; }
  int finish_phases() const override { return with_stats() ? 1 : 0; }

  void prepare(const RunArgs& args, int, int part) override {
    pack(args, part);
    if (with_stats()) moments(args, part).reset();
  }
  void run_images(const RunArgs& args, int part, std::int64_t begin, std::int64_t end) override {
    for (std::size_t i = 0; i < plans_.size(); ++i)
      convolve(args, part, i, {begin * plans_[i].bands, end * plans_[i].bands});
  }
  void finish(const RunArgs& args, int, int part) override {
    write_stats(at<void>(args.workspace, moments_), moments_step_, parts_, shape_.k,
                share(shape_.k, part, parts_), output(args, 1));
  }

 protected:
  void run_share(const RunArgs& args, int part) override {
    for (std::size_t i = 0; i < plans_.size(); ++i)
      convolve(args, part, i, share(images_ * plans_[i].bands, part, parts_));
  }

 private:
  bool with_stats() const { return forward_ && attrs_.stats; }
  Moments moments(const RunArgs& args, int part) const {
    return Moments(at<void>(args.workspace, moments_ + moments_step_ * static_cast<std::size_t>(part)),
                   with_stats() ? shape_.k : 0);
  }

  /// Where, relative to a group's weights, the row of channels C/G of tap (r, s, k) starts.
  std::vector<std::int64_t> data_offsets(const GatherPlan& plan) const {
    std::vector<std::int64_t> offsets;
    for (std::size_t r = 0; r < plan.row_offset.size(); ++r)
      for (std::size_t s = 0; s < plan.col_offset.size(); ++s)
        for (int k = 0; k < shape_.group_k(); ++k)
          offsets.push_back(
              ((std::int64_t{k} * shape_.r + plan.filter_row[r]) * shape_.s + plan.filter_col[s]) *
              shape_.group_c());
    return offsets;
  }

  void pack(const RunArgs& args, int part) const {
    const std::int64_t group_weights =
        std::int64_t{shape_.group_k()} * shape_.r * shape_.s * shape_.group_c();
    for (std::size_t i = 0; i < plans_.size(); ++i) {
      const int taps = plans_[i].n_taps();
      const Range range = share(taps, part, parts_);
      for (int g = 0; g < shape_.groups; ++g) {
        const float* w = input(args, 1) + g * group_weights;
        float* out = at<float>(args.workspace, packed_[i]) + g * packed_group_[i];
        const int begin = static_cast<int>(range.begin), end = static_cast<int>(range.end);
        if (forward_)
          kernels_.pack_transposed({w, taps, group_out_, taps, begin, end, out});
        else
          kernels_.pack_rows({w, pack_offsets_[i].data(), group_out_, taps, begin, end, out});
      }
    }
  }

  void convolve(const RunArgs& args, int part, std::size_t plan, Range units) const {
    float* scratch = at<float>(args.workspace, scratch_) + scratch_step_ * static_cast<std::size_t>(part);
    Moments of_part = moments(args, part);
    for (std::int64_t unit = units.begin; unit < units.end; ++unit)
      convolve_unit(args, plan, unit, scratch, with_stats() ? &of_part : nullptr);
  }

  void convolve_unit(const RunArgs& args, std::size_t index, std::int64_t unit, float* scratch,
                     Moments* moments) const {
    const GatherPlan& plan = plans_[index];
    const auto [image, begin, end] = plan.unit(unit);
    if (begin == end) return;
    const std::int64_t source_image =
        std::int64_t{plan.source_rows} * plan.source_cols * plan.source_channels;
    const std::int64_t out_image = forward_ ? std::int64_t{shape_.p} * shape_.q * shape_.k
                                            : std::int64_t{shape_.h} * shape_.w * shape_.c;
    const float* x = plan.rows(input(args, 0) + image * source_image, begin, end, scratch);
    const std::ptrdiff_t place = image * out_image + plan.out_base + begin * plan.out_row;
    const bool gather_sums = moments != nullptr && !moments->empty();
    ProductRows a;
    a.rows = end - begin;
    a.cols = plan.out_cols;
    a.x_row = plan.x_row();
    a.x_pixel = plan.x_pixel();
    a.taps = plan.taps.data();
    a.n_taps = plan.n_taps();
    if (!plan.tap_begin.empty()) {
      a.tap_begin = plan.tap_begin.data() + begin;
      a.tap_end = plan.tap_end.data() + begin;
    }
    a.k = group_out_;
    a.out_row = plan.out_row;
    a.out_pixel = plan.out_pixel;
    for (int g = 0; g < shape_.groups; ++g) {
      const std::ptrdiff_t k0 = std::ptrdiff_t{g} * group_out_;
      a.x = x + std::ptrdiff_t{g} * plan.group_channels;
      a.w = at<float>(args.workspace, packed_[index]) + g * packed_group_[index];
      a.out = output(args, 0) + place + k0;
      a.epilogue = {};
      if (forward_) {
        if (attrs_.bias) a.epilogue.bias = input(args, 2) + k0;
        a.epilogue.relu = attrs_.relu;
        if (gather_sums) {
          moments->attach(a.epilogue);
          a.epilogue.shift += k0;
          a.epilogue.sum += k0;
          a.epilogue.sum_squares += k0;
        }
      } else if (attrs_.mask) {
        a.epilogue.mask = input(args, 2) + place + k0;
      }
      kernels_.product_rows(a);
    }
    if (moments == nullptr) return;
    const std::int64_t rows = std::int64_t{end - begin} * plan.out_cols;
    if (gather_sums)
      moments->commit(rows);
    else
      moments->add(kernels_, output(args, 0) + place, rows);
  }

  const Kernels& kernels_;
  bool forward_;
  Conv2dAttrs attrs_;
  ConvShape shape_;
  int out_channels_, group_out_;
  std::vector<GatherPlan> plans_;
  std::vector<std::vector<std::int64_t>> pack_offsets_;
  std::vector<std::size_t> packed_;
  std::vector<std::int64_t> packed_group_;
  std::size_t scratch_ = 0, scratch_step_ = 0, moments_ = 0, moments_step_ = 0, bytes_ = 0;
};

/// dw[k][r, s, c] = sum over n, p, q of dy[n, p, q, k] * x[n, p * stride + r, q * stride + s, c].
class DirectConvWeights final : public ImageExecutable {
 public:
  DirectConvWeights(const OpDesc& desc, int threads)
      : ImageExecutable(threads, desc.inputs[0].shape[0]),
        kernels_(kernels()),
        bias_(desc.as<Conv2dAttrs>().bias),
        shape_(ConvShape::of(desc)),
        plan_(forward_plan(shape_, threads, true)),
        group_k_(shape_.group_k()),
        padded_k_(round_up(group_k_, kernels_.lanes)) {
    partial_ = std::int64_t{plan_.n_taps()} * padded_k_ * shape_.groups;
    // Few weights: every thread sums its own images, and the sums are added at the end. Many: the weights are
    // dealt out instead.
    constexpr std::int64_t kFewWeights = 512 * 1024;
    split_images_ = partial_ <= kFewWeights;
    Layout layout;
    partials_ = layout.add<float>(static_cast<std::size_t>(partial_ * (split_images_ ? threads : 1)));
    scratch_step_ = static_cast<std::size_t>(round_up(static_cast<std::int64_t>(plan_.scratch_floats()), 32));
    scratch_ = layout.add<float>(scratch_step_ * static_cast<std::size_t>(threads));
    bias_step_ = round_up(shape_.k, 32);
    bias_sums_ = layout.add<float>(static_cast<std::size_t>(bias_step_ * threads));
    bytes_ = layout.bytes();
  }

  std::size_t workspace_bytes() const override { return bytes_; }

  /// Where the weights are dealt out, every part reads all images.
  ImageWise* image_wise() override { return split_images_ ? this : nullptr; }
  bool reads_by_image(std::size_t slot) const override { return slot <= 1; }
  bool writes_by_image(std::size_t) const override { return false; }
  std::size_t resident_bytes() const override { return bytes_; }
  int finish_phases() const override { return 1; }

  void run_images(const RunArgs& args, int part, std::int64_t begin, std::int64_t end) override {
    accumulate(args, part, {begin * plan_.bands, end * plan_.bands});
  }
  void finish(const RunArgs& args, int, int part) override { reduce(args, part); }

 protected:
  void run_share(const RunArgs& args, int part) override {
    accumulate(args, part, split_images_ ? own_units(part) : Range{0, all_units()});
  }

 private:
  std::int64_t all_units() const { return images_ * plan_.bands; }
  Range own_units(int part) const { return share(all_units(), part, parts_); }

  void accumulate(const RunArgs& args, int part, Range units) const {
    float* scratch = at<float>(args.workspace, scratch_) + scratch_step_ * static_cast<std::size_t>(part);
    float* sums = at<float>(args.workspace, partials_) + (split_images_ ? partial_ * part : 0);
    float* bias = at<float>(args.workspace, bias_sums_) + bias_step_ * part;
    const Range own = own_units(part);
    const std::int64_t first = split_images_ ? own.begin : 0;
    if (units.begin == first) {  // the part's first call
      if (bias_) std::fill_n(bias, bias_step_, 0.0f);
      if (units.size() == 0) std::fill_n(sums, partial_, 0.0f);
    }
    const Range taps = split_images_ ? Range{0, plan_.n_taps()} : share(plan_.n_taps(), part, parts_);
    OuterRows a;
    a.cols = plan_.out_cols;
    a.a_row = plan_.x_row();
    a.a_pixel = plan_.x_pixel();
    a.taps = plan_.taps.data() + taps.begin;
    a.n_taps = static_cast<int>(taps.size());
    a.b_row = plan_.out_row;
    a.b_pixel = plan_.out_pixel;
    a.k = group_k_;
    a.out_step = padded_k_;
    for (std::int64_t unit = units.begin; unit < units.end; ++unit) {
      const auto [image, begin, end] = plan_.unit(unit);
      const std::int64_t x_image = std::int64_t{shape_.h} * shape_.w * shape_.c;
      const float* x = plan_.rows(input(args, 1) + image * x_image, begin, end, scratch);
      const float* dy = input(args, 0) + (image * shape_.p + begin) * plan_.out_row;
      a.rows = end - begin;
      a.accumulate = unit != first;
      for (int g = 0; g < shape_.groups; ++g) {
        a.a = x + std::ptrdiff_t{g} * plan_.group_channels;
        a.b = dy + std::ptrdiff_t{g} * group_k_;
        a.out = sums + (g * plan_.n_taps() + taps.begin) * padded_k_;
        kernels_.outer_rows(a);
      }
      if (bias_ && unit >= own.begin && unit < own.end)
        kernels_.channel_sums(
            {dy, std::int64_t{end - begin} * plan_.out_cols, shape_.k, nullptr, bias, nullptr});
    }
  }

  void reduce(const RunArgs& args, int part) const {
    ReduceTransposed a;
    a.in_part = partial_;
    a.in_step = padded_k_;
    a.parts = split_images_ ? parts_ : 1;
    a.n_taps = plan_.n_taps();
    const Range rows = share(group_k_, kernels_.lanes, part, parts_);
    a.begin = static_cast<int>(rows.begin);
    a.end = static_cast<int>(rows.end);
    a.out_step = plan_.n_taps();
    for (int g = 0; g < shape_.groups; ++g) {
      a.in = at<float>(args.workspace, partials_) + g * plan_.n_taps() * padded_k_;
      a.out = output(args, 0) + std::ptrdiff_t{g} * group_k_ * plan_.n_taps();
      kernels_.reduce_transposed(a);
    }
    if (!bias_) return;
    const Range channels = share(shape_.k, part, parts_);
    for (std::int64_t k = channels.begin; k < channels.end; ++k) {
      float sum = 0;
      for (int from = 0; from < parts_; ++from)
        sum += at<float>(args.workspace, bias_sums_)[bias_step_ * from + k];
      output(args, 1)[k] = sum;
    }
  }

  const Kernels& kernels_;
  bool bias_;
  ConvShape shape_;
  GatherPlan plan_;
  int group_k_;
  std::int64_t padded_k_, partial_ = 0, bias_step_ = 0;
  bool split_images_ = true;
  std::size_t partials_ = 0, scratch_ = 0, scratch_step_ = 0, bias_sums_ = 0, bytes_ = 0;
};

Refusal refuse_direct(const OpDesc& desc) {
  const ConvShape s = ConvShape::of(desc);
#ifdef QUERN_HAVE_DNNL
  // A group's channels fill no vector here: measured 1.1 to 14 times slower than the primitive.
  if (s.groups > 1 && std::min(s.group_c(), s.group_k()) < 16)
    return "leaves groups of fewer than 16 channels to the primitive";
#endif
  // Offsets inside a block of rows are 32-bit.
  const auto span = [](int window, int dilation) { return std::int64_t{window - 1} * dilation + 1; };
  const std::int64_t rows = span(s.r, s.dilation_h),
                     cols = std::int64_t{s.w} + s.pad_left + span(s.s, s.dilation_w);
  if (rows * cols * std::max(s.c, s.k) > std::int64_t{1} << 30)
    return "needs a filter's rows of the image to stay below 2^30 elements";
  return std::nullopt;
}

}  // namespace

void add_direct(Registry& registry) {
  for (const Direction direction : {Direction::forward, Direction::backward_data})
    add_implementation(registry, "direct", {OpKind::conv2d, direction}, refuse_direct,
                       prepare_as<DirectConv>());
  add_implementation(registry, "direct", {OpKind::conv2d, Direction::backward_weights}, refuse_direct,
                     prepare_as<DirectConvWeights>());
}

}  // namespace quern::onednn
