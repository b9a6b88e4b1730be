#pragma once

/// What the case files share: collecting cases under their names, naming windows, thinning cross products.

#include <fmt/format.h>

#include <array>
#include <string>
#include <unordered_map>
#include <vector>

#include "check/case.hpp"
#include "check/descs.hpp"

namespace quern::check {

class Table {
 public:
  /// Adds "<operation>/<name>". A case that two groups arrive at is added once; two different cases of one
  /// name are a mistake in the table.
  void add(const std::string& name, const OpDesc& desc, Flavor flavor = Flavor::plain);
  /// Adds one in `thin` of a cross product. The hash of the name chooses, so that a case stays or goes for
  /// good, whatever else joins the table.
  void add_thinned(unsigned thin, const std::string& name, const OpDesc& desc, Flavor flavor = Flavor::plain);
  std::vector<Case> take() { return std::move(cases_); }

 private:
  std::vector<Case> cases_;
  std::unordered_map<std::string, std::size_t> index_;
};

/// Extents around which tiled kernels go wrong: the usual tile sizes, one less and one more.
inline constexpr std::array<int, 12> kTileSizes = {15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129};

/// A square window with the same padding all around.
inline Window square(int size, int stride = 1, int pad = 0) {
  return {size, size, stride, stride, pad, pad, pad, pad};
}

/// "r3_s1_p1", "r3x2_s2x1_p1.0.0.1" (top, left, bottom, right).
inline std::string window_name(const Window& w) {
  std::string name = w.r == w.s ? fmt::format("r{}", w.r) : fmt::format("r{}x{}", w.r, w.s);
  name += w.stride_h == w.stride_w ? fmt::format("_s{}", w.stride_h)
                                   : fmt::format("_s{}x{}", w.stride_h, w.stride_w);
  const bool even = w.pad_top == w.pad_left && w.pad_top == w.pad_bottom && w.pad_top == w.pad_right;
  return name + (even ? fmt::format("_p{}", w.pad_top)
                      : fmt::format("_p{}.{}.{}.{}", w.pad_top, w.pad_left, w.pad_bottom, w.pad_right));
}

/// "n2_h14_w14_c32"
inline std::string image_name(const Shape& x) {
  return fmt::format("n{}_h{}_w{}_c{}", x[0], x[1], x[2], x[3]);
}

/// Whether a window fits an image at all; pooling also wants every window to touch the image.
inline bool fits(const Shape& x, const Window& w, int dilation_h = 1, int dilation_w = 1) {
  return dilation_h * (w.r - 1) + 1 <= x[1] + w.pad_top + w.pad_bottom &&
         dilation_w * (w.s - 1) + 1 <= x[2] + w.pad_left + w.pad_right;
}

// One function a file; each adds the cases of all directions of its operation.
void add_input_batch_cases(Table& table);
void add_conv2d_cases(Table& table);
void add_dense_cases(Table& table);
void add_batchnorm_cases(Table& table);
void add_relu_cases(Table& table);
void add_maxpool2d_cases(Table& table);
void add_avgpool2d_cases(Table& table);
void add_global_avgpool_cases(Table& table);
void add_dropout_cases(Table& table);
void add_add_cases(Table& table);
void add_softmax_xent_cases(Table& table);
void add_metrics_cases(Table& table);
void add_guard_cases(Table& table);
void add_optimizer_cases(Table& table);
void add_ema_cases(Table& table);

}  // namespace quern::check
