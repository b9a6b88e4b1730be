#include "cli/app.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "cli/commands.hpp"
#include "cli/help.hpp"
#include "quern/error.hpp"
#include "quern/suggest.hpp"
#include "quern/version.hpp"

namespace quern::cli {
namespace {

/// Which subcommand's help to point to.
std::string help_command(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? "quern --help" : fmt::format("quern {} --help", chosen.front()->get_name());
}

/// "; did you mean '--epochs'?" for the first unknown flag of a message of CLI11's.
std::string suggest_flag(const CLI::App& app, const std::string& message) {
  const std::size_t begin = message.find(" --");
  if (begin == std::string::npos) return "";
  const std::string flag = message.substr(begin + 1, message.find_first_of(" =", begin + 1) - begin - 1);
  const auto chosen = app.get_subcommands();
  std::vector<std::string> names;
  for (const CLI::Option* option : (chosen.empty() ? &app : chosen.front())->get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return did_you_mean(flag, names);
}

}  // namespace

void set_up(CLI::App& app, int& status) {
  use_help_format(app);
  app.set_version_flag("--version", fmt::format("quern {}", version()));
  app.require_subcommand(1);
  // A flag given twice: the last one counts, so that scripts can append theirs.
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.set_help_all_flag("--help-all", "Print the help of every command");
  add_train(app, status);
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
}

void check_command(const CLI::App& app, std::string_view first) {
  if (first.starts_with('-')) return;
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  if (std::find(names.begin(), names.end(), first) == names.end())
    fail_input("unknown command '{}': choose one of {}{}", first, fmt::join(names, ", "),
               did_you_mean(first, names));
}

std::string message_of(const CLI::App& app, const CLI::ParseError& error) {
  std::string message = error.what();
  for (char& character : message)
    if (character == '\n') character = ' ';
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError))
    message += suggest_flag(app, message);
  return fmt::format("{}{} see `{}`", message, message.ends_with('?') ? "" : ";", help_command(app));
}

}  // namespace quern::cli
