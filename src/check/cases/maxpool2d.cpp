#include "check/cases/table.hpp"

namespace quern::check {
namespace {

struct Variant {
  bool flag;  ///< save_argmax in forward, mask in backward
  Flavor flavor;
};

void add(Table& table, Direction direction, const Shape& x, const Window& window, const Variant& variant,
         unsigned thin) {
  if (!fits(x, window)) return;
  Pool2dAttrs attrs;
  attrs.window = window;
  const bool forward = direction == Direction::forward;
  (forward ? attrs.save_argmax : attrs.mask) = variant.flag;
  const char* flag = !variant.flag ? "" : forward ? "_argmax" : "_mask";
  const char* nan = variant.flavor == Flavor::nan ? "_nan" : "";
  table.add_thinned(thin, fmt::format("{}_{}{}{}", image_name(x), window_name(window), flag, nan),
                    pool2d_desc(OpKind::maxpool2d, direction, x, attrs), variant.flavor);
}

}  // namespace

void add_maxpool2d_cases(Table& table) {
  const Window windows[] = {square(2, 2),
                            square(3, 2, 1),
                            square(3, 2),
                            square(3, 1, 1),
                            square(2, 1),
                            square(3, 3),
                            square(5, 1, 2),
                            square(1),
                            square(1, 2),
                            square(2, 3),
                            {2, 3, 2, 1, 0, 0, 0, 0},
                            {3, 2, 1, 2, 1, 0, 1, 1},
                            {2, 2, 2, 2, 1, 0, 0, 1},
                            {3, 3, 2, 2, 0, 0, 1, 1},
                            {1, 4, 1, 4, 0, 2, 0, 1}};
  const Shape shapes[] = {{2, 28, 28, 4}, {2, 14, 14, 16}, {1, 7, 7, 3},   {3, 5, 6, 4},  {1, 9, 4, 17},
                          {2, 4, 4, 33},  {1, 13, 11, 5},  {2, 6, 6, 64},  {5, 4, 5, 1},  {1, 5, 5, 129},
                          {1, 4, 4, 8},   {7, 3, 3, 2},    {2, 15, 17, 3}, {1, 31, 33, 2}};
  for (const Direction direction : {Direction::forward, Direction::backward}) {
    const bool forward = direction == Direction::forward;
    for (const bool flag : {false, true}) {
      for (const Window& window : windows)
        for (const Shape& x : shapes) add(table, direction, x, window, {flag, Flavor::plain}, 2);
      // The shipped models' shapes, extents of one, and the largest window whose argmax fits a byte.
      for (const Shape& x :
           {Shape{1, 28, 28, 32}, Shape{1, 14, 14, 64}, Shape{2, 28, 28, 6}, Shape{3, 10, 10, 16}})
        add(table, direction, x, square(2, 2), {flag, Flavor::plain}, 1);
      add(table, direction, {1, 1, 1, 1}, square(1), {flag, Flavor::plain}, 1);
      add(table, direction, {1, 2, 2, 1}, square(2, 2), {flag, Flavor::plain}, 1);
      add(table, direction, {1, 1, 9, 3}, {1, 3, 1, 2, 0, 0, 0, 0}, {flag, Flavor::plain}, 1);
      add(table, direction, {1, 9, 1, 3}, {3, 1, 2, 1, 0, 0, 0, 0}, {flag, Flavor::plain}, 1);
      add(table, direction, {1, 16, 32, 3}, square(16, 16), {flag, Flavor::plain}, 1);
      for (const int t : kTileSizes) {
        add(table, direction, {1, 4, 6, t}, square(2, 2), {flag, Flavor::plain}, 1);
        add(table, direction, {t, 2, 4, 3}, square(2, 2), {flag, Flavor::plain}, 1);
      }
      if (forward)
        for (const Window& window : {square(2, 2), square(3, 2, 1), square(3, 1, 1)})
          for (const Shape& x : {Shape{2, 8, 8, 4}, Shape{1, 7, 9, 17}})
            add(table, direction, x, window, {flag, Flavor::nan}, 1);
    }
  }
}

}  // namespace quern::check
