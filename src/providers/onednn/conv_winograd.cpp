// 3x3 convolutions of stride 1 by Winograd's F(2x2, 3x3): 16 multiplications for 4 outputs where the direct
// sum takes 36. The transforms know only 0, +-1 and 1/2, so small integers stay exact, and the rounding error
// is that of the direct sum within a small factor (the table of tolerances needs no entry of its own).
//
// A unit of work is a band of tile rows of one image; its transformed operands stay in the second-level
// cache.

#include <algorithm>
#include <cstring>
#include <numeric>

#include "providers/onednn/conv_plan.hpp"
#include "providers/onednn/moments.hpp"
#include "providers/onednn/support.hpp"

namespace quern::onednn {

namespace {

constexpr int kFrequencies = 16, kTaps = 9;

// Transformed operands of a band, both sides together; but not fewer tiles than pay for reading the filters.
// Measured on seed-bn's second layer: whole images (49 tiles, 300 kB) beat bands of 7 to 28 tiles by 3 to 30
// %.
constexpr std::int64_t kBandFloats = 96 * 1024, kBandTiles = 48;

std::vector<std::int32_t> iota(int n) {
  std::vector<std::int32_t> values(static_cast<std::size_t>(n));
  std::iota(values.begin(), values.end(), 0);
  return values;
}

std::size_t size(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

/// The tiling of an output image and the padded input patches that its bands read.
struct Tiling {
  int tile_rows, tile_cols;  ///< of an image
  int band, bands;           ///< tile rows of a unit, units of an image
  int in_rows, in_cols;      ///< of the image that patches are cut from
  int channels;              ///< of it
  int row_shift, col_shift;  ///< image row of patch row 0 of tile row 0, likewise columns (<= 0: padding)
  int width;                 ///< columns of the padded copy

  Tiling(int images, int rows, int cols, int source_rows, int source_cols, int source_channels,
         int other_channels, int row_offset, int col_offset, int parts)
      : tile_rows((rows + 1) / 2),
        tile_cols((cols + 1) / 2),
        in_rows(source_rows),
        in_cols(source_cols),
        channels(source_channels),
        row_shift(row_offset),
        col_shift(col_offset),
        width(2 * tile_cols + 2) {
    const std::int64_t row_floats =
        std::int64_t{kFrequencies} * tile_cols * (source_channels + other_channels);
    const std::int64_t fewest = (kBandTiles + tile_cols - 1) / tile_cols;
    const auto by_cache = std::clamp<std::int64_t>(std::max(kBandFloats / row_floats, fewest), 1, tile_rows);
    const auto by_stats = std::clamp<std::int64_t>(Moments::kBlockRows / (4 * tile_cols), 1, tile_rows);
    band = band_rows(tile_rows, static_cast<int>(std::min(by_cache, by_stats)), images, parts);
    bands = (tile_rows + band - 1) / band;
  }

  /// The image of a unit of work and its tile rows, at most `band` of them.
  struct Unit {
    std::int64_t image;
    int begin, end;
  };
  Unit unit(std::int64_t index) const {
    const Range rows = share(tile_rows, static_cast<int>(index % bands), bands);
    return {index / bands, static_cast<int>(rows.begin), static_cast<int>(rows.end)};
  }

  std::int64_t copy_floats() const { return std::int64_t{2 * band + 2} * width * channels; }

  /// Copies the rows that tile rows [begin, end) read, with zeros outside the image.
  void copy(const float* image, int begin, int end, float* out) const {
    const std::size_t line = size(width) * size(channels);
    const int left = std::clamp(-col_shift, 0, width);
    const int source = std::max(col_shift, 0);
    const int count = std::clamp(in_cols - source, 0, width - left);
    const std::size_t left_floats = size(left) * size(channels), middle = size(count) * size(channels);
    for (int i = 2 * begin; i < 2 * end + 2; ++i, out += line) {
      const int row = i + row_shift;
      if (row < 0 || row >= in_rows) {
        std::memset(out, 0, line * sizeof(float));
        continue;
      }
      std::memset(out, 0, left_floats * sizeof(float));
      std::memcpy(out + left_floats, image + (std::int64_t{row} * in_cols + source) * channels,
                  middle * sizeof(float));
      std::memset(out + left_floats + middle, 0, (line - left_floats - middle) * sizeof(float));
    }
  }
};

/// Forward, and backward to the data: the same convolution of dy with the rotated filters.
class WinogradConv final : public Executable {
 public:
  WinogradConv(const OpDesc& desc, int parts)
      : kernels_(kernels()),
        parts_(parts),
        forward_(desc.op.direction == Direction::forward),
        attrs_(desc.as<Conv2dAttrs>()),
        shape_(ConvShape::of(desc)),
        in_channels_(forward_ ? shape_.c : shape_.k),
        out_channels_(forward_ ? shape_.k : shape_.c),
        rows_(forward_ ? shape_.p : shape_.h),
        cols_(forward_ ? shape_.q : shape_.w),
        tiling_(forward_ ? Tiling(shape_.n, rows_, cols_, shape_.h, shape_.w, shape_.c, shape_.k,
                                  -shape_.pad_top, -shape_.pad_left, parts)
                         : Tiling(shape_.n, rows_, cols_, shape_.p, shape_.q, shape_.k, shape_.c,
                                  shape_.pad_top - 2, shape_.pad_left - 2, parts)),
        padded_in_(round_up(in_channels_, kernels_.lanes)),
        padded_out_(round_up(out_channels_, kernels_.lanes)),
        channel_taps_(iota(in_channels_)) {
    if (!forward_) {
      for (int t = 0; t < kTaps; ++t)
        for (int k = 0; k < shape_.k; ++k)
          pack_offsets_.push_back((std::int64_t{k} * kTaps + (kTaps - 1 - t)) * shape_.c);
    }
    const std::int64_t tiles = std::int64_t{tiling_.band} * tiling_.tile_cols;
    Layout layout;
    packed_ = layout.add<float>(size(kTaps * in_channels_ * padded_out_));
    filters_ = layout.add<float>(size(kFrequencies * in_channels_ * padded_out_));
    Layout own;
    copy_ = own.add<float>(size(tiling_.copy_floats()));
    transformed_ = own.add<float>(size(kFrequencies * tiles * padded_in_));
    products_ = own.add<float>(size(kFrequencies * tiles * padded_out_));
    moments_ = own.add<std::byte>(forward_ && attrs_.stats ? Moments::bytes(shape_.k) : 0);
    own_step_ = own.bytes();
    own_ = layout.add<std::byte>(own_step_ * size(parts));
    bytes_ = layout.bytes();
  }

  std::size_t workspace_bytes() const override { return bytes_; }

  void run(const RunArgs& args) override {
    const auto filters = [&](int part) { transform_filters(args, part); };
    const auto work = [&](int part) { convolve(args, part); };
    if (!forward_ || !attrs_.stats) {
      parallel(parts_, filters, work);
      return;
    }
    parallel(parts_, filters, work, [&](int part) {
      write_stats(at<void>(args.workspace, own_ + moments_), own_step_, parts_, shape_.k,
                  share(shape_.k, part, parts_), output(args, 1));
    });
  }

 private:
  /// For this part's input channels: taps -> panels of output channels -> 16 frequencies of such panels.
  void transform_filters(const RunArgs& args, int part) const {
    const Range range = share(in_channels_, part, parts_);
    const int begin = static_cast<int>(range.begin), end = static_cast<int>(range.end);
    if (begin == end) return;
    float* packed = at<float>(args.workspace, packed_);
    const int taps = kTaps * in_channels_;
    for (int t = 0; t < kTaps; ++t) {
      const int first = t * in_channels_;
      if (forward_)
        kernels_.pack_transposed(
            {input(args, 1), taps, out_channels_, taps, first + begin, first + end, packed});
      else
        kernels_.pack_rows(
            {input(args, 1), pack_offsets_.data(), out_channels_, taps, first + begin, first + end, packed});
    }
    for (std::int64_t k0 = 0; k0 < padded_out_; k0 += kernels_.panel) {
      const std::int64_t width = std::min<std::int64_t>(kernels_.panel, padded_out_ - k0);
      WinogradFilters a;
      a.in = packed + k0 * taps;
      a.in_step = in_channels_ * width;
      a.out = at<float>(args.workspace, filters_) + k0 * in_channels_;
      a.out_step = in_channels_ * padded_out_;
      a.begin = begin * width;
      a.end = end * width;
      kernels_.winograd_filters(a);
    }
  }

  void convolve(const RunArgs& args, int part) const {
    std::byte* own = at<std::byte>(args.workspace, own_ + own_step_ * size(part));
    const bool stats = forward_ && attrs_.stats;
    Moments moments(own + moments_, stats ? shape_.k : 0);
    if (stats) moments.reset();
    const Range units = share(std::int64_t{shape_.n} * tiling_.bands, part, parts_);
    for (std::int64_t unit = units.begin; unit < units.end; ++unit)
      convolve_unit(args, unit, own, stats ? &moments : nullptr);
  }

  void convolve_unit(const RunArgs& args, std::int64_t unit, std::byte* own, Moments* moments) const {
    const auto [image, begin, end] = tiling_.unit(unit);
    float* copy = at<float>(own, copy_);
    const std::int64_t source_image = std::int64_t{tiling_.in_rows} * tiling_.in_cols * in_channels_;
    tiling_.copy(input(args, 0) + image * source_image, begin, end, copy);

    const std::int64_t tiles = std::int64_t{end - begin} * tiling_.tile_cols;
    float* transformed = at<float>(own, transformed_);
    WinogradScatter scatter;
    scatter.image = copy;
    scatter.pixel = in_channels_;
    scatter.row = std::ptrdiff_t{tiling_.width} * in_channels_;
    scatter.tile_rows = end - begin;
    scatter.tile_cols = tiling_.tile_cols;
    scatter.channels = in_channels_;
    scatter.out = transformed;
    scatter.tile = padded_in_;
    scatter.frequency = tiles * padded_in_;
    kernels_.winograd_input(scatter);

    float* products = at<float>(own, products_);
    ProductRows a;
    a.cols = static_cast<int>(tiles);
    a.x_pixel = padded_in_;
    a.taps = channel_taps_.data();
    a.n_taps = in_channels_;
    a.k = static_cast<int>(padded_out_);
    a.out_pixel = padded_out_;
    for (int f = 0; f < kFrequencies; ++f) {
      a.x = transformed + f * scatter.frequency;
      a.w = at<float>(args.workspace, filters_) + f * in_channels_ * padded_out_;
      a.out = products + f * tiles * padded_out_;
      kernels_.product_rows(a);
    }

    const std::int64_t place = ((image * rows_ + 2 * begin) * cols_) * out_channels_;
    WinogradGather gather;
    gather.in = products;
    gather.tile = padded_out_;
    gather.frequency = tiles * padded_out_;
    gather.tile_rows = end - begin;
    gather.tile_cols = tiling_.tile_cols;
    gather.channels = out_channels_;
    gather.out = output(args, 0) + place;
    gather.pixel = out_channels_;
    gather.row = std::ptrdiff_t{cols_} * out_channels_;
    gather.rows = std::min(2 * end, rows_) - 2 * begin;
    gather.cols = cols_;
    const bool gather_sums = moments != nullptr && !moments->empty();
    if (forward_) {
      if (attrs_.bias) gather.epilogue.bias = input(args, 2);
      gather.epilogue.relu = attrs_.relu;
      if (gather_sums) moments->attach(gather.epilogue);
    } else if (attrs_.mask) {
      gather.epilogue.mask = input(args, 2) + place;
    }
    kernels_.winograd_output(gather);
    if (moments == nullptr) return;
    const std::int64_t pixels = std::int64_t{gather.rows} * cols_;
    if (gather_sums)
      moments->commit(pixels);
    else
      moments->add(kernels_, gather.out, pixels);
  }

  const Kernels& kernels_;
  int parts_;
  bool forward_;
  Conv2dAttrs attrs_;
  ConvShape shape_;
  int in_channels_, out_channels_;
  int rows_, cols_;  // of the output
  Tiling tiling_;
  std::int64_t padded_in_, padded_out_;
  std::vector<std::int32_t> channel_taps_;
  std::vector<std::int64_t> pack_offsets_;
  std::size_t packed_ = 0, filters_ = 0, own_ = 0, own_step_ = 0, bytes_ = 0;
  std::size_t copy_ = 0, transformed_ = 0, products_ = 0, moments_ = 0;  // within a part's own memory
};

/// dU[f] = sum over tiles of (B^T x B)[f] outer (A dy A^T)[f]; dw = G^T dU G: the transpose of the forward
/// algorithm.
class WinogradConvWeights final : public Executable {
 public:
  WinogradConvWeights(const OpDesc& desc, int parts)
      : kernels_(kernels()),
        parts_(parts),
        bias_(desc.as<Conv2dAttrs>().bias),
        shape_(ConvShape::of(desc)),
        tiling_(shape_.n, shape_.p, shape_.q, shape_.h, shape_.w, shape_.c, shape_.k, -shape_.pad_top,
                -shape_.pad_left, parts),
        padded_c_(round_up(shape_.c, kernels_.lanes)),
        padded_k_(round_up(shape_.k, kernels_.lanes)),
        channel_taps_(iota(shape_.c)) {
    const std::int64_t tiles = std::int64_t{tiling_.band} * tiling_.tile_cols;
    Layout layout;
    gradient_ = layout.add<float>(size(kTaps * shape_.c * padded_k_));
    Layout own;
    sums_ = own.add<float>(size(kFrequencies * shape_.c * padded_k_));
    copy_ = own.add<float>(size(tiling_.copy_floats()));
    x_ = own.add<float>(size(kFrequencies * tiles * padded_c_));
    dy_ = own.add<float>(size(kFrequencies * tiles * padded_k_));
    bias_sums_ = own.add<float>(size(padded_k_));
    own_step_ = own.bytes();
    own_ = layout.add<std::byte>(own_step_ * size(parts));
    bytes_ = layout.bytes();
  }

  std::size_t workspace_bytes() const override { return bytes_; }

  void run(const RunArgs& args) override {
    parallel(
        parts_, [&](int part) { accumulate(args, part); }, [&](int part) { transform_back(args, part); },
        [&](int part) { write(args, part); });
  }

 private:
  void accumulate(const RunArgs& args, int part) const {
    std::byte* own = at<std::byte>(args.workspace, own_ + own_step_ * size(part));
    float* sums = at<float>(own, sums_);
    if (bias_) std::fill_n(at<float>(own, bias_sums_), padded_k_, 0.0f);
    const Range units = share(std::int64_t{shape_.n} * tiling_.bands, part, parts_);
    if (units.size() == 0) std::fill_n(sums, kFrequencies * shape_.c * padded_k_, 0.0f);
    for (std::int64_t unit = units.begin; unit < units.end; ++unit) {
      const auto [image, begin, end] = tiling_.unit(unit);
      accumulate_unit(args, image, begin, end, own, unit != units.begin);
    }
  }

  void accumulate_unit(const RunArgs& args, std::int64_t image, int begin, int end, std::byte* own,
                       bool accumulate) const {
    const std::int64_t tiles = std::int64_t{end - begin} * tiling_.tile_cols;
    float* copy = at<float>(own, copy_);
    tiling_.copy(input(args, 1) + image * shape_.h * shape_.w * shape_.c, begin, end, copy);
    WinogradScatter scatter;
    scatter.tile_rows = end - begin;
    scatter.tile_cols = tiling_.tile_cols;
    scatter.image = copy;
    scatter.pixel = shape_.c;
    scatter.row = std::ptrdiff_t{tiling_.width} * shape_.c;
    scatter.channels = shape_.c;
    scatter.out = at<float>(own, x_);
    scatter.tile = padded_c_;
    scatter.frequency = tiles * padded_c_;
    kernels_.winograd_input(scatter);

    const float* dy = input(args, 0) + ((image * shape_.p + 2 * begin) * shape_.q) * shape_.k;
    scatter.image = dy;
    scatter.pixel = shape_.k;
    scatter.row = std::ptrdiff_t{shape_.q} * shape_.k;
    scatter.rows = std::min(2 * end, shape_.p) - 2 * begin;
    scatter.cols = shape_.q;
    scatter.channels = shape_.k;
    scatter.out = at<float>(own, dy_);
    scatter.tile = padded_k_;
    scatter.frequency = tiles * padded_k_;
    kernels_.winograd_output_gradient(scatter);
    if (bias_)
      kernels_.channel_sums({dy, std::int64_t{scatter.rows} * shape_.q, shape_.k, nullptr,
                             at<float>(own, bias_sums_), nullptr});

    OuterRows a;
    a.cols = static_cast<int>(tiles);
    a.a_pixel = padded_c_;
    a.taps = channel_taps_.data();
    a.n_taps = shape_.c;
    a.b_pixel = padded_k_;
    a.k = static_cast<int>(padded_k_);
    a.out_step = padded_k_;
    a.accumulate = accumulate;
    for (int f = 0; f < kFrequencies; ++f) {
      a.a = at<float>(own, x_) + f * tiles * padded_c_;
      a.b = at<float>(own, dy_) + f * tiles * padded_k_;
      a.out = at<float>(own, sums_) + f * shape_.c * padded_k_;
      kernels_.outer_rows(a);
    }
  }

  void transform_back(const RunArgs& args, int part) const {
    const std::int64_t elements = shape_.c * padded_k_;
    const Range range = share(elements, kernels_.lanes, part, parts_);
    WinogradFilters a;
    a.in = at<float>(args.workspace, own_ + sums_);
    a.in_step = elements;
    a.parts = parts_;
    a.part = static_cast<std::ptrdiff_t>(own_step_ / sizeof(float));
    a.out = at<float>(args.workspace, gradient_);
    a.out_step = elements;
    a.begin = range.begin;
    a.end = range.end;
    kernels_.winograd_filter_gradient(a);
  }

  void write(const RunArgs& args, int part) const {
    const Range rows = share(shape_.k, kernels_.lanes, part, parts_);
    ReduceTransposed a;
    a.in = at<float>(args.workspace, gradient_);
    a.in_step = padded_k_;
    a.n_taps = kTaps * shape_.c;
    a.begin = static_cast<int>(rows.begin);
    a.end = static_cast<int>(rows.end);
    a.out = output(args, 0);
    a.out_step = a.n_taps;
    kernels_.reduce_transposed(a);
    if (!bias_) return;
    for (std::int64_t k = rows.begin; k < rows.end; ++k) {
      float sum = 0;
      for (int from = 0; from < parts_; ++from)
        sum += at<float>(args.workspace, own_ + own_step_ * size(from) + bias_sums_)[k];
      output(args, 1)[k] = sum;
    }
  }

  const Kernels& kernels_;
  int parts_;
  bool bias_;
  ConvShape shape_;
  Tiling tiling_;
  std::int64_t padded_c_, padded_k_;
  std::vector<std::int32_t> channel_taps_;
  std::size_t gradient_ = 0, own_ = 0, own_step_ = 0, bytes_ = 0;
  std::size_t sums_ = 0, copy_ = 0, x_ = 0, dy_ = 0, bias_sums_ = 0;  // within a part's own memory
};

Refusal refuse_winograd(const OpDesc& desc) {
  const ConvShape s = ConvShape::of(desc);
  if (s.r != 3 || s.s != 3) return "needs a 3x3 filter";
  if (s.stride_h != 1 || s.stride_w != 1) return "needs stride 1";
  if (s.dilation_h != 1 || s.dilation_w != 1) return "needs dilation 1";
  if (s.groups != 1) return "needs one group";
  // Below that the transforms cost more than the multiplications they save.
  if (s.c < 16 || s.k < 16) return "needs at least 16 input and output channels";
  if (s.p < 2 || s.q < 2) return "needs an output of at least 2x2";
  // Transforming many filters for few pixels costs more than it saves.
  if (std::int64_t{s.c} * s.k > 64 * 1024 && std::int64_t{s.n} * s.p * s.q < 128)
    return "needs at least 128 output pixels in a batch for this many filters";
  return std::nullopt;
}

}  // namespace

void add_winograd(Registry& registry) {
  for (const Direction direction : {Direction::forward, Direction::backward_data})
    add_implementation(registry, "winograd", {OpKind::conv2d, direction}, refuse_winograd,
                       prepare_as<WinogradConv>());
  add_implementation(registry, "winograd", {OpKind::conv2d, Direction::backward_weights}, refuse_winograd,
                     prepare_as<WinogradConvWeights>());
}

}  // namespace quern::onednn
