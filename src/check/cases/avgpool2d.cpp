#include "check/cases/table.hpp"

namespace quern::check {
namespace {

void add(Table& table, Direction direction, const Shape& x, const Window& window, bool include_pad, bool mask,
         unsigned thin) {
  if (!fits(x, window)) return;
  Pool2dAttrs attrs;
  attrs.window = window;
  attrs.count_include_pad = include_pad;
  attrs.mask = mask;
  table.add_thinned(thin,
                    fmt::format("{}_{}{}{}", image_name(x), window_name(window), include_pad ? "_incl" : "",
                                mask ? "_mask" : ""),
                    pool2d_desc(OpKind::avgpool2d, direction, x, attrs));
}

}  // namespace

void add_avgpool2d_cases(Table& table) {
  const Window windows[] = {square(2, 2),
                            square(3, 2, 1),
                            square(3, 2),
                            square(3, 1, 1),
                            square(2, 1),
                            square(4, 4),
                            square(5, 1, 2),
                            square(1),
                            square(1, 2),
                            square(2, 3),
                            {2, 3, 2, 1, 0, 0, 0, 0},
                            {3, 2, 1, 2, 1, 0, 1, 1},
                            {2, 2, 2, 2, 1, 0, 0, 1},
                            {3, 3, 2, 2, 0, 0, 1, 1},
                            {1, 4, 1, 4, 0, 2, 0, 1}};
  const Shape shapes[] = {{2, 14, 14, 6}, {1, 7, 7, 3},   {3, 5, 6, 4}, {1, 9, 4, 17},
                          {2, 4, 4, 33},  {1, 13, 11, 5}, {5, 4, 5, 1}, {1, 5, 5, 129}};
  for (const Direction direction : {Direction::forward, Direction::backward}) {
    const bool backward = direction == Direction::backward;
    for (const bool include_pad : {false, true})
      for (const bool mask : {false, true}) {
        if (mask && !backward) continue;
        for (const Window& window : windows)
          for (const Shape& x : shapes) add(table, direction, x, window, include_pad, mask, backward ? 3 : 2);
        add(table, direction, {2, 28, 28, 6}, square(2, 2), include_pad, mask, 1);
        add(table, direction, {2, 10, 10, 16}, square(2, 2), include_pad, mask, 1);
        add(table, direction, {1, 1, 1, 1}, square(1), include_pad, mask, 1);
        add(table, direction, {1, 1, 1, 2}, square(3, 1, 1), include_pad, mask, 1);
        add(table, direction, {1, 1, 9, 3}, {1, 3, 1, 2, 0, 0, 0, 0}, include_pad, mask, 1);
        add(table, direction, {1, 9, 1, 3}, {3, 1, 2, 1, 0, 0, 0, 0}, include_pad, mask, 1);
        add(table, direction, {1, 20, 20, 2}, square(20, 1), include_pad, mask, 1);
      }
    for (const int t : kTileSizes) {
      add(table, direction, {1, 4, 6, t}, square(2, 2), false, backward && t % 2 == 0, 1);
      add(table, direction, {t, 2, 4, 3}, square(3, 1, 1), t % 2 == 0, false, 1);
    }
  }
}

}  // namespace quern::check
