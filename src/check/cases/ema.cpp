#include "check/cases/table.hpp"

namespace quern::check {

void add_ema_cases(Table& table) {
  for (const int n :
       {1, 2, 3, 4, 5, 7, 8, 9, 127, 128, 129, 255, 256, 257, 1023, 1024, 1025, 4095, 4097, 65537})
    table.add(fmt::format("t{}", n), ema_desc(n));
  for (const std::int64_t steps : {1, 2, 3, 5, 938})
    for (const std::int64_t n : {1, 4099})
      table.add(fmt::format("t{}_advance{}", n, steps), ema_desc(n, {true}, steps));
  for (const bool advance : {false, true})
    for (const std::int64_t n : {1, 4099})
      for (const Flavor flavor : {Flavor::plain, Flavor::nan})
        table.add(fmt::format("t{}_guarded{}{}", n, advance ? "_advance3" : "",
                              flavor == Flavor::nan ? "_nan" : ""),
                  ema_desc(n, {advance, true}, 3), flavor);
  for (const int t : kTileSizes) table.add(fmt::format("t{}", 100 * t + 1), ema_desc(100 * t + 1));
}

}  // namespace quern::check
