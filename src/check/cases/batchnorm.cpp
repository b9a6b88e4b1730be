#include "check/cases/table.hpp"

namespace quern::check {
namespace {

std::string shape_name(const Shape& x) {
  if (x.rank() == 4) return image_name(x);
  if (x.rank() == 3) return fmt::format("n{}_h{}_c{}", x[0], x[1], x[2]);
  return fmt::format("n{}_c{}", x[0], x[1]);
}

std::string case_name(const Shape& x, const BatchNormAttrs& attrs, Flavor flavor) {
  const BatchNormAttrs defaults;
  std::string name = shape_name(x);
  if (attrs.relu) name += "_relu";
  if (attrs.stats) name += "_stats";
  if (attrs.mask) name += "_mask";
  if (attrs.pool) name += "_pool_" + window_name(attrs.window);
  if (attrs.epsilon != defaults.epsilon) name += fmt::format("_eps{}", attrs.epsilon);
  if (attrs.momentum != defaults.momentum) name += fmt::format("_mom{}", attrs.momentum);
  if (flavor == Flavor::offset) name += "_offset";
  if (flavor == Flavor::constant) name += "_constant";
  return name;
}

/// The attributes a direction knows, bit by bit: relu always; stats in forward; mask in backward.
BatchNormAttrs attributes(Direction direction, int flags) {
  BatchNormAttrs attrs;
  attrs.relu = (flags & 1) != 0;
  if (direction == Direction::forward) attrs.stats = (flags & 2) != 0;
  if (direction == Direction::backward) attrs.mask = (flags & 2) != 0;
  return attrs;
}

int flag_combinations(Direction direction) {
  return direction == Direction::inference ? 2 : 4;
}

void add(Table& table, Direction direction, const Shape& x, const BatchNormAttrs& attrs,
         Flavor flavor = Flavor::plain) {
  table.add(case_name(x, attrs, flavor), batchnorm_desc(direction, x, attrs), flavor);
}

void add_some_flags(Table& table, Direction direction, const Shape& x) {
  const auto choice = static_cast<int>((hash_name(shape_name(x)) >> 17) % 4);
  add(table, direction, x, attributes(direction, choice % flag_combinations(direction)));
}

void add_plain(Table& table, Direction direction) {
  // After the convolutions and dense layers of seed-bn and the residual net.
  const Shape models[] = {{2, 28, 28, 32}, {2, 14, 14, 64}, {2, 28, 28, 16}, {3, 14, 14, 32},
                          {3, 7, 7, 64},   {8, 128},        {64, 128},       {33, 10}};
  const Shape edges[] = {{1, 1},         {1, 9},         {2, 1},       {2, 3},
                         {1, 1, 1, 1},   {1, 1, 1, 7},   {3, 1, 1, 5}, {1, 1, 9, 2},
                         {1, 11, 1, 3},  {5, 7, 3},      {1, 2, 1},    {13, 17},
                         {2, 13, 11, 3}, {1, 29, 31, 1}, {1000, 2},    {7, 19, 23, 2}};
  for (int flags = 0; flags < flag_combinations(direction); ++flags) {
    for (const Shape& x : models) add(table, direction, x, attributes(direction, flags));
    for (const Shape& x : edges) add(table, direction, x, attributes(direction, flags));
  }
  for (const int t : kTileSizes) {
    add_some_flags(table, direction, {2, 3, 3, t});
    add_some_flags(table, direction, {t, 6});
    add_some_flags(table, direction, {1, t, 5, 4});
    add_some_flags(table, direction, {3, t});
    add_some_flags(table, direction, {t, 2, 2, 16});
  }
  for (const int rows : {255, 256, 257, 1023, 1025, 2049})
    for (const int c : {1, 3, 8}) add_some_flags(table, direction, {rows, c});
  for (int flags = 0; flags < flag_combinations(direction); ++flags)
    for (const float epsilon : {1e-5f, 1e-3f, 1e-1f})
      for (const float momentum : {0.0f, 0.9f, 1.0f}) {
        BatchNormAttrs attrs = attributes(direction, flags);
        attrs.epsilon = epsilon;
        attrs.momentum = momentum;
        add(table, direction, {3, 5, 4, 6}, attrs);
      }
  for (int flags = 0; flags < flag_combinations(direction); ++flags)
    for (const Flavor flavor : {Flavor::offset, Flavor::constant})
      for (const Shape& x : {Shape{4, 6, 6, 8}, Shape{40, 5}, Shape{2, 17, 13, 3}}) {
        const BatchNormAttrs attrs = attributes(direction, flags);
        // A ReLU before the normalisation (mask) with a far mean would never clip; that is `offset` without
        // it.
        if (flavor == Flavor::offset && attrs.mask) continue;
        add(table, direction, x, attrs, flavor);
      }
}

void add_pooled(Table& table, Direction direction) {
  const Window windows[] = {square(2, 2),
                            square(3, 2, 1),
                            square(3, 2),
                            square(3, 1, 1),
                            square(2, 1),
                            square(3, 3),
                            square(5, 2, 2),
                            square(1, 2),
                            {2, 3, 2, 1, 0, 0, 0, 0},
                            {3, 2, 1, 2, 1, 0, 1, 1},
                            {2, 2, 2, 2, 1, 0, 0, 1},
                            {3, 3, 2, 2, 0, 0, 1, 1},
                            {1, 4, 1, 4, 0, 2, 0, 1}};
  const Shape shapes[] = {{2, 28, 28, 8}, {2, 14, 14, 16}, {1, 7, 7, 3},  {3, 5, 6, 4}, {1, 9, 4, 17},
                          {2, 4, 4, 33},  {1, 13, 11, 5},  {2, 6, 6, 64}, {5, 4, 5, 1}};
  for (int flags = 0; flags < flag_combinations(direction); ++flags) {
    for (const Window& window : windows)
      for (const Shape& x : shapes) {
        if (!fits(x, window)) continue;
        BatchNormAttrs attrs = attributes(direction, flags);
        attrs.pool = true;
        attrs.window = window;
        table.add_thinned(3, case_name(x, attrs, Flavor::plain), batchnorm_desc(direction, x, attrs));
      }
    // seed-bn's own shapes and the smallest ones, never thinned; then degenerate channels.
    for (const Shape& x :
         {Shape{1, 28, 28, 32}, Shape{1, 14, 14, 64}, Shape{1, 2, 2, 1}, Shape{3, 3, 3, 2}}) {
      BatchNormAttrs attrs = attributes(direction, flags);
      attrs.pool = true;
      attrs.window = square(2, 2);
      add(table, direction, x, attrs);
    }
    BatchNormAttrs attrs = attributes(direction, flags);
    attrs.pool = true;
    attrs.window = square(2, 2);
    add(table, direction, {2, 6, 6, 4}, attrs, Flavor::constant);
    attrs.window = {16, 16, 16, 16, 0, 0, 0, 0};  // the largest window whose argmax fits a byte
    add(table, direction, {1, 16, 32, 2}, attrs);
  }
}

}  // namespace

void add_batchnorm_cases(Table& table) {
  for (const Direction direction : {Direction::forward, Direction::inference, Direction::backward}) {
    add_plain(table, direction);
    add_pooled(table, direction);
  }
}

}  // namespace quern::check
