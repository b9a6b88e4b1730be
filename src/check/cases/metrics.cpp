#include "check/cases/table.hpp"

namespace quern::check {

void add_metrics_cases(Table& table) {
  for (const Flavor flavor : {Flavor::plain, Flavor::nan}) {
    const auto add = [&](int n, int classes) {
      table.add(fmt::format("n{}_c{}{}", n, classes, flavor == Flavor::nan ? "_nan" : ""),
                metrics_desc(n, classes), flavor);
    };
    for (const int n :
         {1, 2, 3, 7, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1000, 1024, 1025, 4099})
      add(n, 10);
    for (const int classes : {1, 2, 3, 17, 31, 32, 33, 64, 65, 100, 129, 1000}) add(19, classes);
  }
}

}  // namespace quern::check
