#include "check/cases/table.hpp"

namespace quern::check {

void add_guard_cases(Table& table) {
  // Where a NaN or an infinity stands is drawn from the name: `_nan0` to `_nan5` are six places.
  const auto add = [&](int n, std::int64_t elements, std::int64_t statistics) {
    const std::string name = fmt::format("n{}_t{}_r{}", n, elements, statistics);
    const OpDesc desc = guard_desc(n, elements, statistics);
    table.add(name, desc);
    table.add(name + "_large", desc, Flavor::large);
    for (int place = 0; place < 6; ++place)
      table.add(fmt::format("{}_nan{}", name, place), desc, Flavor::nan);
  };
  for (const std::int64_t elements : {1, 2, 3, 255, 256, 257, 2047, 2048, 2049, 9999, 65537, 300001})
    add(7, elements, 12);
  for (const int n : {1, 2, 31, 64, 255, 256, 257, 1000, 4099}) add(n, 100, 12);
  for (const std::int64_t statistics : {0, 1, 2, 64, 255, 256, 257, 1000}) add(5, 300, statistics);
}

}  // namespace quern::check
