#include "cli/app.hpp"

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/help.hpp"
#include "cli/mistakes.hpp"
#include "quern/version.hpp"

namespace quern::cli {

void set_up(CLI::App& app, int& status) {
  use_help_format(app);
  app.set_version_flag("--version", fmt::format("quern {}", version()));
  app.require_subcommand(1);
  // A flag given twice: the last one counts, so that scripts can append theirs.
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.set_help_all_flag("--help-all", "Print the help of every command");
  add_train(app, status);
  add_sweep(app, status);
  add_eval(app, status);
  add_predict(app, status);
  add_data(app, status);
#ifdef QUERN_HAVE_CHECK
  add_check(app, status);
  add_bench(app, status);
#endif
  add_export(app, status);
  add_import(app, status);
  add_report(app, status);
  add_profile(app, status);
  add_info(app, status);
  add_models(app, status);
  add_completion(app, status);
  add_man(app, status);
  apply_help(app);
  guard_values(app);
}

}  // namespace quern::cli
