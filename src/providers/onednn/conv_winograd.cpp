// 3x3 convolutions of stride 1 by Winograd's F(m x m, 3x3): (m + 2)^2 multiplications for m^2 outputs where
// the direct sum takes 9 m^2. The transforms of F(2x2) know only 0, +-1 and 1/2, so small integers stay
// exact, and the rounding error is that of the direct sum within a small factor (the table of tolerances
// needs no entry of its own). Those of F(4x4) and F(5x5) save more and lose one to three bits
// (isa/winograd.cpp); each serves the images that it tiles with the fewest multiplications: 14 x 14 are nine
// tiles of 5 x 5, 28 x 28 are 49 of 4 x 4.
//
// A unit of work is a band of tile rows of one image, or several whole images; its transformed operands stay
// in the second-level cache.

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "providers/onednn/conv_plan.hpp"
#include "providers/onednn/moments.hpp"
#include "providers/onednn/support.hpp"

namespace quern::onednn {

namespace {

constexpr int kTaps = 9;

// Transformed operands of a unit, both sides together; but not fewer tiles than pay for reading the filters.
// Measured on seed-bn's second layer: whole images (49 tiles of 2 x 2, 300 kB) beat bands of 7 to 28 tiles by
// 3 to 30 %; of tiles of 5 x 5, nine an image, three images a unit beat one by 5 % and eight by 10 to 30 %.
constexpr std::int64_t kUnitFloats = 96 * 1024, kUnitTiles = 27;

/// Multiplications of F(m x m) for one pair of channels of an image.
std::int64_t multiplications(const ConvShape& s, int m) {
  return std::int64_t{(s.p + m - 1) / m} * ((s.q + m - 1) / m) * (m + 2) * (m + 2);
}

const WinogradTransforms& transforms(const Kernels& kernels, int m) {
  return *(m == 2 ? kernels.winograd_2x2 : m == 4 ? kernels.winograd_4x4 : kernels.winograd_5x5);
}

std::vector<std::int32_t> iota(int n) {
  std::vector<std::int32_t> values(static_cast<std::size_t>(n));
  std::iota(values.begin(), values.end(), 0);
  return values;
}

std::size_t size(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

/// The tiling of output images and the input patches that its units read.
struct Tiling {
  int outputs;               ///< m: rows and columns of a tile
  int tile_rows, tile_cols;  ///< of an image
  int images;                ///< of the batch
  int band, bands;           ///< tile rows of a unit, bands of an image
  std::int64_t units;        ///< of the batch
  int group;                 ///< images of a unit, at most; 1 where an image has several bands
  int in_rows, in_cols;      ///< of the image that patches are cut from
  int channels;              ///< of it
  int most_channels;         ///< of it or of the other side's
  int row_shift, col_shift;  ///< image row of patch row 0 of tile row 0, likewise columns (<= 0: padding)

  Tiling(int m, int batch, int rows, int cols, int source_rows, int source_cols, int source_channels,
         int other_channels, int row_offset, int col_offset, int parts)
      : outputs(m),
        tile_rows((rows + m - 1) / m),
        tile_cols((cols + m - 1) / m),
        images(batch),
        in_rows(source_rows),
        in_cols(source_cols),
        channels(source_channels),
        most_channels(std::max(source_channels, other_channels)),
        row_shift(row_offset),
        col_shift(col_offset) {
    const std::int64_t row_floats = frequencies() * tile_cols * (source_channels + other_channels);
    const std::int64_t fewest = (kUnitTiles + tile_cols - 1) / tile_cols;
    const std::int64_t by_cache = std::max(kUnitFloats / row_floats, fewest);
    const std::int64_t by_stats = Moments::kBlockRows / (std::int64_t{m} * m * tile_cols);
    const auto limit = std::clamp<std::int64_t>(std::min(by_cache, by_stats), 1, tile_rows);
    band = band_rows(tile_rows, static_cast<int>(limit), batch, parts);
    bands = (tile_rows + band - 1) / band;
    units = std::int64_t{batch} * bands;
    group = 1;
    if (bands > 1) return;
    // As many images as one unit of tile rows, and the same work for all parts.
    const auto together = std::clamp<std::int64_t>(by_cache / tile_rows, 1, batch);
    const auto wanted = (batch + together - 1) / together;
    units = std::min<std::int64_t>(round_up(wanted, parts), batch);
    group = static_cast<int>((batch + units - 1) / units);
  }

  std::int64_t frequencies() const { return std::int64_t{outputs + 2} * (outputs + 2); }

  /// The images of a unit of work and its tile rows, at most `band` of them.
  struct Unit {
    std::int64_t first_image, last_image;  ///< last: one past
    int begin, end;
  };
  Unit unit(std::int64_t index) const {
    if (bands == 1) {
      const Range of_batch = share(images, static_cast<int>(index), static_cast<int>(units));
      return {of_batch.begin, of_batch.end, 0, tile_rows};
    }
    const Range rows = share(tile_rows, static_cast<int>(index % bands), bands);
    return {index / bands, index / bands + 1, static_cast<int>(rows.begin), static_cast<int>(rows.end)};
  }
  /// Tiles of a unit, at most.
  std::int64_t unit_tiles() const { return std::int64_t{group} * band * tile_cols; }

  /// A patch's row outside the image, of either operand.
  std::int64_t zero_floats() const { return std::int64_t{outputs + 2} * most_channels; }

  /// What a unit reads of one image: its patches, with `out` and its steps left to the caller. `zeros`:
  /// zero_floats() of room.
  WinogradScatter cut(const float* from_images, std::int64_t image, const Unit& unit, float* zeros) const {
    std::fill_n(zeros, zero_floats(), 0.0f);
    WinogradScatter patches;
    patches.image = from_images + image * in_rows * in_cols * channels;
    patches.pixel = channels;
    patches.row = std::ptrdiff_t{in_cols} * channels;
    patches.rows = in_rows;
    patches.cols = in_cols;
    patches.top = outputs * unit.begin + row_shift;
    patches.left = col_shift;
    patches.zeros = zeros;
    patches.tile_rows = unit.end - unit.begin;
    patches.tile_cols = tile_cols;
    patches.channels = channels;
    return patches;
  }
};

/// Forward, and backward to the data: the same convolution of dy with the rotated filters.
class WinogradConv final : public ImageExecutable {
 public:
  WinogradConv(const OpDesc& desc, int m, int parts)
      : ImageExecutable(parts, desc.inputs[0].shape[0]),
        kernels_(kernels()),
        transforms_(transforms(kernels_, m)),
        forward_(desc.op.direction == Direction::forward),
        attrs_(desc.as<Conv2dAttrs>()),
        shape_(ConvShape::of(desc)),
        in_channels_(forward_ ? shape_.c : shape_.k),
        out_channels_(forward_ ? shape_.k : shape_.c),
        rows_(forward_ ? shape_.p : shape_.h),
        cols_(forward_ ? shape_.q : shape_.w),
        tiling_(forward_ ? Tiling(m, shape_.n, rows_, cols_, shape_.h, shape_.w, shape_.c, shape_.k,
                                  -shape_.pad_top, -shape_.pad_left, parts)
                         : Tiling(m, shape_.n, rows_, cols_, shape_.p, shape_.q, shape_.k, shape_.c,
                                  shape_.pad_top - 2, shape_.pad_left - 2, parts)),
        padded_in_(round_up(in_channels_, kernels_.lanes)),
        padded_out_(round_up(out_channels_, kernels_.lanes)),
        channel_taps_(iota(in_channels_)) {
    if (!forward_) {
      for (int t = 0; t < kTaps; ++t)
        for (int k = 0; k < shape_.k; ++k)
          pack_offsets_.push_back((std::int64_t{k} * kTaps + (kTaps - 1 - t)) * shape_.c);
    }
    const std::int64_t tiles = tiling_.unit_tiles(), frequencies = tiling_.frequencies();
    Layout layout;
    packed_ = layout.add<float>(size(kTaps * in_channels_ * padded_out_));
    filters_ = layout.add<float>(size(frequencies * in_channels_ * padded_out_));
    Layout own;
    zeros_ = own.add<float>(size(tiling_.zero_floats()));
    transformed_ = own.add<float>(size(frequencies * tiles * padded_in_));
    products_ = own.add<float>(size(frequencies * tiles * padded_out_));
    moments_ = own.add<std::byte>(forward_ && attrs_.stats ? Moments::bytes(shape_.k) : 0);
    own_step_ = own.bytes();
    own_ = layout.add<std::byte>(own_step_ * size(parts));
    bytes_ = layout.bytes();
  }

  std::size_t workspace_bytes() const override { return bytes_; }

  bool reads_by_image(std::size_t slot) const override { return slot == 0 || (!forward_ && slot == 2); }
  bool writes_by_image(std::size_t slot) const override { return slot == 0; }
  std::size_t resident_bytes() const override {
    return own_step_ + size(tiling_.frequencies() * in_channels_ * padded_out_) * sizeof(float);
  }
  std::int64_t granule() const override { return tiling_.group; }
  int prepare_phases() const override { return 1; }
  int finish_phases() const override { return with_stats() ? 1 : 0; }

  void prepare(const RunArgs& args, int, int part) override {
    transform_filters(args, part);
    if (with_stats()) moments(args, part).reset();
  }
  void run_images(const RunArgs& args, int part, std::int64_t begin, std::int64_t end) override {
    if (tiling_.bands == 1) {
      for (std::int64_t first = begin; first < end; first += tiling_.group)
        convolve(args, part, {first, std::min(first + tiling_.group, end), 0, tiling_.tile_rows});
      return;
    }
    convolve_units(args, part, {begin * tiling_.bands, end * tiling_.bands});
  }
  void finish(const RunArgs& args, int, int part) override {
    write_stats(at<void>(args.workspace, own_ + moments_), own_step_, parts_, shape_.k,
                share(shape_.k, part, parts_), output(args, 1));
  }

 protected:
  void run_share(const RunArgs& args, int part) override {
    convolve_units(args, part, share(tiling_.units, part, parts_));
  }

 private:
  void convolve_units(const RunArgs& args, int part, Range units) const {
    for (std::int64_t unit = units.begin; unit < units.end; ++unit) convolve(args, part, tiling_.unit(unit));
  }

  bool with_stats() const { return forward_ && attrs_.stats; }
  std::byte* own(const RunArgs& args, int part) const {
    return at<std::byte>(args.workspace, own_ + own_step_ * size(part));
  }
  Moments moments(const RunArgs& args, int part) const {
    return Moments(own(args, part) + moments_, with_stats() ? shape_.k : 0);
  }

  /// For this part's input channels: taps -> panels of output channels -> frequencies of such panels.
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
      transforms_.filters(a);
    }
  }

  void convolve(const RunArgs& args, int part, const Tiling::Unit& unit) const {
    std::byte* const own_memory = own(args, part);
    Moments of_part = moments(args, part);
    const std::int64_t image_tiles = std::int64_t{unit.end - unit.begin} * tiling_.tile_cols;
    const std::int64_t tiles = image_tiles * (unit.last_image - unit.first_image);
    float* transformed = at<float>(own_memory, transformed_);
    for (std::int64_t image = unit.first_image; image < unit.last_image; ++image)
      scatter(args, unit, image, own_memory, tiles,
              transformed + (image - unit.first_image) * image_tiles * padded_in_);

    float* products = at<float>(own_memory, products_);
    ProductRows a;
    a.cols = static_cast<int>(tiles);
    a.x_pixel = padded_in_;
    a.taps = channel_taps_.data();
    a.n_taps = in_channels_;
    a.k = static_cast<int>(padded_out_);
    a.out_pixel = padded_out_;
    for (std::int64_t f = 0; f < tiling_.frequencies(); ++f) {
      a.x = transformed + f * tiles * padded_in_;
      a.w = at<float>(args.workspace, filters_) + f * in_channels_ * padded_out_;
      a.out = products + f * tiles * padded_out_;
      kernels_.product_rows(a);
    }

    for (std::int64_t image = unit.first_image; image < unit.last_image; ++image)
      gather(args, unit, image, tiles, products + (image - unit.first_image) * image_tiles * padded_out_,
             with_stats() ? &of_part : nullptr);
  }

  /// The patches of one image of a unit -> `out`, of the unit's `tiles`.
  void scatter(const RunArgs& args, const Tiling::Unit& unit, std::int64_t image, std::byte* own,
               std::int64_t tiles, float* out) const {
    WinogradScatter a = tiling_.cut(input(args, 0), image, unit, at<float>(own, zeros_));
    a.out = out;
    a.tile = padded_in_;
    a.frequency = tiles * padded_in_;
    transforms_.input(a);
  }

  /// The products of one image of a unit -> output rows.
  void gather(const RunArgs& args, const Tiling::Unit& unit, std::int64_t image, std::int64_t tiles,
              const float* products, Moments* moments) const {
    const int first_row = tiling_.outputs * unit.begin;
    const std::int64_t place = (image * rows_ + first_row) * cols_ * out_channels_;
    WinogradGather a;
    a.in = products;
    a.tile = padded_out_;
    a.frequency = tiles * padded_out_;
    a.tile_rows = unit.end - unit.begin;
    a.tile_cols = tiling_.tile_cols;
    a.channels = out_channels_;
    a.out = output(args, 0) + place;
    a.pixel = out_channels_;
    a.row = std::ptrdiff_t{cols_} * out_channels_;
    a.rows = std::min(tiling_.outputs * unit.end, rows_) - first_row;
    a.cols = cols_;
    const bool gather_sums = moments != nullptr && !moments->empty();
    if (forward_) {
      if (attrs_.bias) a.epilogue.bias = input(args, 2);
      a.epilogue.relu = attrs_.relu;
      if (gather_sums) moments->attach(a.epilogue);
    } else if (attrs_.mask) {
      a.epilogue.mask = input(args, 2) + place;
    }
    transforms_.output(a);
    if (moments == nullptr) return;
    const std::int64_t pixels = std::int64_t{a.rows} * cols_;
    if (gather_sums)
      moments->commit(pixels);
    else
      moments->add(kernels_, a.out, pixels);
  }

  const Kernels& kernels_;
  const WinogradTransforms& transforms_;
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
  std::size_t zeros_ = 0, transformed_ = 0, products_ = 0, moments_ = 0;  // within a part's own memory
};

/// dU[f] = sum over tiles of (B^T x B)[f] outer (A dy A^T)[f]; dw = G^T dU G: the transpose of the forward
/// algorithm.
class WinogradConvWeights final : public Executable {
 public:
  WinogradConvWeights(const OpDesc& desc, int m, int parts)
      : kernels_(kernels()),
        transforms_(transforms(kernels_, m)),
        parts_(parts),
        bias_(desc.as<Conv2dAttrs>().bias),
        shape_(ConvShape::of(desc)),
        tiling_(m, shape_.n, shape_.p, shape_.q, shape_.h, shape_.w, shape_.c, shape_.k, -shape_.pad_top,
                -shape_.pad_left, parts),
        padded_c_(round_up(shape_.c, kernels_.lanes)),
        padded_k_(round_up(shape_.k, kernels_.lanes)),
        channel_taps_(iota(shape_.c)) {
    const std::int64_t tiles = tiling_.unit_tiles(), frequencies = tiling_.frequencies();
    Layout layout;
    gradient_ = layout.add<float>(size(kTaps * shape_.c * padded_k_));
    Layout own;
    sums_ = own.add<float>(size(frequencies * shape_.c * padded_k_));
    zeros_ = own.add<float>(size(tiling_.zero_floats()));
    x_ = own.add<float>(size(frequencies * tiles * padded_c_));
    dy_ = own.add<float>(size(frequencies * tiles * padded_k_));
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
    const Range units = share(tiling_.units, part, parts_);
    if (units.size() == 0) std::fill_n(sums, tiling_.frequencies() * shape_.c * padded_k_, 0.0f);
    for (std::int64_t unit = units.begin; unit < units.end; ++unit)
      accumulate_unit(args, tiling_.unit(unit), own, unit != units.begin);
  }

  void accumulate_unit(const RunArgs& args, const Tiling::Unit& unit, std::byte* own, bool accumulate) const {
    const std::int64_t image_tiles = std::int64_t{unit.end - unit.begin} * tiling_.tile_cols;
    const std::int64_t tiles = image_tiles * (unit.last_image - unit.first_image);
    float *x = at<float>(own, x_), *dy = at<float>(own, dy_);
    for (std::int64_t image = unit.first_image; image < unit.last_image; ++image) {
      const std::int64_t before = (image - unit.first_image) * image_tiles;
      scatter(args, unit, image, own, tiles, x + before * padded_c_, dy + before * padded_k_);
    }
    OuterRows a;
    a.cols = static_cast<int>(tiles);
    a.a_pixel = padded_c_;
    a.taps = channel_taps_.data();
    a.n_taps = shape_.c;
    a.b_pixel = padded_k_;
    a.k = static_cast<int>(padded_k_);
    a.out_step = padded_k_;
    a.accumulate = accumulate;
    for (std::int64_t f = 0; f < tiling_.frequencies(); ++f) {
      a.a = x + f * tiles * padded_c_;
      a.b = dy + f * tiles * padded_k_;
      a.out = at<float>(own, sums_) + f * shape_.c * padded_k_;
      kernels_.outer_rows(a);
    }
  }

  /// The patches of one image of a unit, and those of its gradient -> `x` and `dy`, of the unit's `tiles`.
  void scatter(const RunArgs& args, const Tiling::Unit& unit, std::int64_t image, std::byte* own,
               std::int64_t tiles, float* x, float* dy) const {
    WinogradScatter a = tiling_.cut(input(args, 1), image, unit, at<float>(own, zeros_));
    a.out = x;
    a.tile = padded_c_;
    a.frequency = tiles * padded_c_;
    transforms_.input(a);

    const int first_row = tiling_.outputs * unit.begin;
    a.image = input(args, 0) + (image * shape_.p + first_row) * shape_.q * shape_.k;
    a.top = a.left = 0;
    a.pixel = shape_.k;
    a.row = std::ptrdiff_t{shape_.q} * shape_.k;
    a.rows = std::min(tiling_.outputs * unit.end, shape_.p) - first_row;
    a.cols = shape_.q;
    a.channels = shape_.k;
    a.out = dy;
    a.tile = padded_k_;
    a.frequency = tiles * padded_k_;
    transforms_.output_gradient(a);
    if (bias_)
      kernels_.channel_sums(
          {a.image, std::int64_t{a.rows} * shape_.q, shape_.k, nullptr, at<float>(own, bias_sums_), nullptr});
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
    transforms_.filter_gradient(a);
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
  const WinogradTransforms& transforms_;
  int parts_;
  bool bias_;
  ConvShape shape_;
  Tiling tiling_;
  std::int64_t padded_c_, padded_k_;
  std::vector<std::int32_t> channel_taps_;
  std::size_t gradient_ = 0, own_ = 0, own_step_ = 0, bytes_ = 0;
  std::size_t sums_ = 0, zeros_ = 0, x_ = 0, dy_ = 0, bias_sums_ = 0;  // within a part's own memory
};

template <int m>
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
  // A larger tile has more filters to transform and to read, and loses digits.
  if constexpr (m > 2) {
    if (std::int64_t{s.n} * s.p * s.q < 16 * m * m)
      return fmt::format("needs at least {} output pixels in a batch", 16 * m * m);
    std::int64_t fewest = multiplications(s, 2);
    if constexpr (m == 5) fewest = std::min(fewest, multiplications(s, 4));
    if (10 * multiplications(s, m) > 9 * fewest)
      return "saves less than a tenth of the multiplications of smaller tiles";
  }
  return std::nullopt;
}

template <int m>
void add_tiles(Registry& registry, const char* name) {
  const bool exact = m == 2;
  const auto add = [&](Direction direction, auto prepare) {
    add_implementation(registry, name, {OpKind::conv2d, direction}, refuse_winograd<m>, prepare, exact);
  };
  const auto conv = [](const OpDesc& desc, Device& device) -> std::unique_ptr<Executable> {
    return std::make_unique<WinogradConv>(desc, m, parts_for(desc, device));
  };
  add(Direction::forward, conv);
  add(Direction::backward_data, conv);
  add(Direction::backward_weights, [](const OpDesc& desc, Device& device) -> std::unique_ptr<Executable> {
    return std::make_unique<WinogradConvWeights>(desc, m, parts_for(desc, device));
  });
}

}  // namespace

void add_winograd(Registry& registry) {
  add_tiles<5>(registry, "winograd_5x5");
  add_tiles<4>(registry, "winograd_4x4");
  add_tiles<2>(registry, "winograd");
}

}  // namespace quern::onednn
