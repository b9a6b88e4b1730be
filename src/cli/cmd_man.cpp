#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/man_page.hpp"

namespace quern::cli {

void add_man(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand("man", "Print the manual page");
  command->callback([&app, &status] {
    fmt::print("{}", man_page(app));
    status = 0;
  });
}

}  // namespace quern::cli
