#include "check/cases/table.hpp"

namespace quern::check {
namespace {

constexpr Direction kForward = Direction::forward;
constexpr Direction kData = Direction::backward_data;
constexpr Direction kWeights = Direction::backward_weights;
constexpr Direction kBoth = Direction::backward;

/// Which attributes a direction knows, bit by bit: bias, relu, stats; mask; bias; bias, mask.
int flag_combinations(Direction direction) {
  return direction == kForward ? 8 : direction == kBoth ? 4 : 2;
}

Conv2dAttrs with_flags(Direction direction, Conv2dAttrs attrs, int flags) {
  if (direction == kForward) {
    attrs.bias = (flags & 1) != 0;
    attrs.relu = (flags & 2) != 0;
    attrs.stats = (flags & 4) != 0;
  } else if (direction == kData) {
    attrs.mask = (flags & 1) != 0;
  } else {
    attrs.bias = (flags & 1) != 0;
    attrs.mask = (flags & 2) != 0;
  }
  return attrs;
}

std::string base_name(const ImageShape& shape, const Conv2dAttrs& attrs) {
  std::string name = fmt::format("n{}_h{}_w{}_c{}_k{}_{}", shape.n, shape.h, shape.w, shape.c, shape.k,
                                 window_name(attrs.window));
  if (attrs.dilation_h != 1 || attrs.dilation_w != 1)
    name += attrs.dilation_h == attrs.dilation_w ? fmt::format("_d{}", attrs.dilation_h)
                                                 : fmt::format("_d{}x{}", attrs.dilation_h, attrs.dilation_w);
  if (attrs.groups != 1) name += fmt::format("_g{}", attrs.groups);
  return name;
}

std::string full_name(const ImageShape& shape, const Conv2dAttrs& attrs) {
  return fmt::format("{}{}{}{}{}{}", base_name(shape, attrs), attrs.bias ? "_bias" : "",
                     attrs.relu ? "_relu" : "", attrs.stats ? "_stats" : "", attrs.mask ? "_mask" : "",
                     attrs.gather ? fmt::format("_gather_mean{}_std{}", attrs.mean, attrs.stddev) : "");
}

bool fits(const ImageShape& shape, const Conv2dAttrs& attrs) {
  return check::fits({shape.n, shape.h, shape.w, shape.c}, attrs.window, attrs.dilation_h, attrs.dilation_w);
}

void add_one(Table& table, Direction direction, const ImageShape& shape, const Conv2dAttrs& attrs) {
  table.add(full_name(shape, attrs), conv2d_desc(direction, shape, attrs));
}

/// Every combination of attributes.
void add_all_flags(Table& table, Direction direction, const ImageShape& shape, const Conv2dAttrs& attrs) {
  for (int flags = 0; flags < flag_combinations(direction); ++flags)
    add_one(table, direction, shape, with_flags(direction, attrs, flags));
}

/// One combination, which the shape's name chooses.
void add_some_flags(Table& table, Direction direction, const ImageShape& shape, const Conv2dAttrs& attrs) {
  const auto choice = static_cast<int>((hash_name(base_name(shape, attrs)) >> 17) % 8);
  add_one(table, direction, shape, with_flags(direction, attrs, choice % flag_combinations(direction)));
}

struct Layer {
  ImageShape shape;
  Window window;
};

/// The convolutions of the shipped models, at small batches.
void add_model_shapes(Table& table, Direction direction) {
  const Layer layers[] = {
      {{2, 28, 28, 1, 32}, square(3, 1, 1)},  // seed, seed-bn: same and valid
      {{2, 28, 28, 1, 32}, square(3)},        {{1, 14, 14, 32, 64}, square(3, 1, 1)},
      {{1, 13, 13, 32, 64}, square(3)},       {{3, 28, 28, 1, 6}, square(5, 1, 2)},  // lenet5
      {{3, 14, 14, 6, 16}, square(5)},        {{2, 5, 5, 16, 120}, square(5)},
      {{2, 28, 28, 1, 16}, square(3, 1, 1)},  // resnet-tiny, whose strided "same" pads after the image only
      {{1, 28, 28, 16, 16}, square(3, 1, 1)}, {{2, 28, 28, 16, 32}, {3, 3, 2, 2, 0, 0, 1, 1}},
      {{2, 28, 28, 16, 32}, square(3, 2, 1)}, {{2, 28, 28, 16, 32}, square(1, 2)},
      {{1, 14, 14, 32, 32}, square(3, 1, 1)}, {{2, 14, 14, 32, 64}, {3, 3, 2, 2, 0, 0, 1, 1}},
      {{2, 14, 14, 32, 64}, square(1, 2)},    {{1, 7, 7, 64, 64}, square(3, 1, 1)},
  };
  for (const Layer& layer : layers) {
    Conv2dAttrs attrs;
    attrs.window = layer.window;
    // Both gradients in one are those of the other directions, whose cases have every combination.
    if (direction == kBoth)
      add_some_flags(table, direction, layer.shape, attrs);
    else
      add_all_flags(table, direction, layer.shape, attrs);
  }
  // A few whole-warp batches of the two layers that carry the seed nets.
  for (const int n : {4, 5, 8}) {
    Conv2dAttrs attrs;
    attrs.window = square(3, 1, 1);
    add_some_flags(table, direction, {n, 28, 28, 1, 32}, attrs);
    add_some_flags(table, direction, {n, 14, 14, 32, 64}, attrs);
  }
}

/// Kernel x stride x padding x dilation x channels, thinned.
void add_windows(Table& table, Direction direction) {
  struct Padding {
    int top, left, bottom, right;
  };
  constexpr std::array<std::array<int, 2>, 9> kKernels = {
      {{1, 1}, {2, 2}, {3, 3}, {4, 4}, {5, 5}, {7, 7}, {1, 3}, {3, 1}, {5, 2}}};
  constexpr std::array<std::array<int, 2>, 5> kStrides = {{{1, 1}, {2, 2}, {3, 3}, {2, 1}, {1, 3}}};
  constexpr Padding kPaddings[] = {{0, 0, 0, 0}, {1, 1, 1, 1}, {2, 2, 2, 2},
                                   {1, 0, 0, 1}, {0, 2, 1, 0}, {3, 3, 3, 3}};
  constexpr std::array<std::array<int, 2>, 3> kDilations = {{{1, 1}, {2, 2}, {1, 2}}};
  const ImageShape shapes[] = {
      {1, 7, 7, 3, 5}, {2, 9, 9, 4, 8}, {1, 8, 5, 1, 8}, {3, 11, 13, 2, 3}, {2, 7, 10, 8, 16}};
  for (const ImageShape& shape : shapes)
    for (const auto& [r, s] : kKernels)
      for (const auto& [stride_h, stride_w] : kStrides)
        for (const Padding& pad : kPaddings)
          for (const auto& [dilation_h, dilation_w] : kDilations) {
            Conv2dAttrs attrs;
            attrs.window = {r, s, stride_h, stride_w, pad.top, pad.left, pad.bottom, pad.right};
            attrs.dilation_h = dilation_h;
            attrs.dilation_w = dilation_w;
            if (!fits(shape, attrs)) continue;
            // The base name is thinned alike in every direction, so that a window's three directions stand
            // together.
            const unsigned thin = direction == kBoth ? 48 : 12;
            if (hash_name(base_name(shape, attrs)) % thin == 0)
              add_some_flags(table, direction, shape, attrs);
          }
}

/// Channels, filters, pixels and batches around the tile sizes of a blocked kernel.
void add_tiles(Table& table, Direction direction) {
  Conv2dAttrs point;
  point.window = square(1);
  Conv2dAttrs same;
  same.window = square(3, 1, 1);
  Conv2dAttrs row;
  row.window = {1, 3, 1, 1, 0, 1, 0, 1};
  for (const int t : kTileSizes) {
    add_some_flags(table, direction, {1, 5, 5, 8, t}, same);
    add_some_flags(table, direction, {1, 5, 5, t, 8}, same);
    add_some_flags(table, direction, {1, 3, 3, t, t}, point);
    add_some_flags(table, direction, {1, 1, t, 4, 8}, row);
    add_some_flags(table, direction, {t, 1, 1, 4, 8}, point);
    add_some_flags(table, direction, {1, t, 3, 3, 4}, same);
  }
  for (const int c : {15, 17, 33})
    for (const int k : {15, 17, 33, 65}) add_some_flags(table, direction, {2, 4, 3, c, k}, same);
}

void add_groups(Table& table, Direction direction) {
  struct Grouped {
    int c, k, groups;
  };
  constexpr Grouped kGrouped[] = {{4, 4, 2}, {6, 9, 3}, {8, 8, 4},    {8, 16, 2},   {16, 8, 8}, {32, 32, 2},
                                  {3, 3, 3}, {8, 8, 8}, {17, 17, 17}, {32, 32, 32}, {5, 10, 5}, {4, 12, 4}};
  for (const Grouped& g : kGrouped)
    for (const auto& window : {square(1), square(3, 1, 1), square(3, 2, 1), square(5, 1, 2)})
      for (const int dilation : {1, 2}) {
        if (dilation == 2 && window.r == 1) continue;
        Conv2dAttrs attrs;
        attrs.window = window;
        attrs.groups = g.groups;
        attrs.dilation_h = attrs.dilation_w = dilation;
        const ImageShape shape{2, 7, 6, g.c, g.k};
        if (fits(shape, attrs)) add_some_flags(table, direction, shape, attrs);
      }
  Conv2dAttrs depthwise;
  depthwise.window = square(3, 1, 1);
  depthwise.groups = 16;
  add_all_flags(table, direction, {1, 6, 6, 16, 16}, depthwise);
}

/// Extents of one, kernels as large as the image, padding as large as the kernel, pixels that no window
/// reads.
void add_edges(Table& table, Direction direction) {
  struct Edge {
    ImageShape shape;
    Window window;
    int dilation = 1;
  };
  const Edge edges[] = {
      {{1, 1, 1, 1, 1}, square(1)},
      {{1, 1, 1, 1, 1}, square(3, 1, 1)},
      {{1, 1, 1, 1, 7}, square(1)},
      {{1, 1, 1, 7, 1}, square(1)},
      {{7, 1, 1, 1, 1}, square(1)},
      {{1, 1, 7, 3, 2}, square(1)},
      {{1, 7, 1, 3, 2}, square(1)},
      {{2, 1, 9, 3, 4}, {1, 3, 1, 1, 0, 0, 0, 0}},
      {{2, 9, 1, 3, 4}, {3, 1, 1, 1, 0, 0, 0, 0}},
      {{2, 3, 3, 4, 5}, square(3)},
      {{2, 5, 5, 4, 5}, square(5)},
      {{3, 7, 7, 2, 3}, square(7)},
      {{1, 4, 4, 2, 3}, square(1, 1, 1)},
      {{1, 4, 4, 2, 3}, square(3, 1, 3)},
      {{1, 2, 2, 2, 3}, square(5, 1, 2)},
      {{2, 8, 8, 3, 4}, square(1, 3)},
      {{2, 10, 10, 3, 4}, square(2, 4)},
      {{1, 9, 9, 2, 3}, square(3, 1, 0), 4},
      {{1, 6, 6, 2, 3}, square(3, 1, 3), 3},
      {{1, 8, 7, 2, 3}, {3, 3, 2, 2, 0, 0, 1, 1}},
  };
  for (const Edge& edge : edges) {
    Conv2dAttrs attrs;
    attrs.window = edge.window;
    attrs.dilation_h = attrs.dilation_w = edge.dilation;
    add_all_flags(table, direction, edge.shape, attrs);
  }
  Conv2dAttrs same;
  same.window = square(3, 1, 1);
  for (const int n : {1, 2, 3, 5, 7, 13, 17, 31, 33}) add_some_flags(table, direction, {n, 6, 6, 4, 8}, same);
  for (const int prime : {11, 13, 19, 23, 29})
    add_some_flags(table, direction, {1, prime, prime, 3, 5}, same);
}

/// The first layers of the shipped models with their images gathered, the other filters that a patch in
/// registers serves, and some that it does not.
void add_gathers(Table& table, Direction direction) {
  const Layer layers[] = {{{2, 28, 28, 1, 32}, square(3, 1, 1)}, {{9, 28, 28, 1, 32}, square(3)},
                          {{3, 28, 28, 1, 6}, square(5, 1, 2)},  {{2, 28, 28, 1, 16}, square(3, 1, 1)},
                          {{2, 32, 32, 3, 8}, square(3, 1, 1)},  {{5, 6, 7, 1, 33}, square(3, 1, 1)},
                          {{1, 5, 5, 1, 1}, square(5, 1, 2)},    {{2, 9, 8, 2, 6}, square(3, 2, 1)},
                          {{2, 8, 8, 6, 9}, square(2)}};
  for (const Layer& layer : layers) {
    Conv2dAttrs attrs;
    attrs.window = layer.window;
    attrs.gather = true;
    add_all_flags(table, direction, layer.shape, attrs);
    attrs.mean = 0.25f;
    attrs.stddev = 0.5f;
    add_some_flags(table, direction, layer.shape, attrs);
  }
}

}  // namespace

void add_conv2d_cases(Table& table) {
  for (const Direction direction : {kForward, kData, kWeights, kBoth}) {
    add_model_shapes(table, direction);
    add_windows(table, direction);
    add_tiles(table, direction);
    add_groups(table, direction);
    add_edges(table, direction);
  }
  for (const Direction direction : {kForward, kWeights}) add_gathers(table, direction);
}

}  // namespace quern::check
