#include "cli/mistakes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <map>

#include "cli/help.hpp"
#include "cli/values.hpp"
#include "quern/error.hpp"
#include "quern/suggest.hpp"

namespace quern::cli {
namespace {

/// The command that was chosen, down to "bench train".
const CLI::App& chosen(const CLI::App& app) {
  const auto below = app.get_subcommands();
  return below.empty() ? app : chosen(*below.front());
}

std::string title(const CLI::App& app) {
  const std::string path = command_path(app);
  return path.empty() ? "quern" : "quern " + path;
}

std::vector<std::string> long_flags(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

bool has_flag(const CLI::App& app, std::string_view flag) {
  const auto names = long_flags(app);
  return std::find(names.begin(), names.end(), flag) != names.end();
}

const CLI::Option* find_option(const CLI::App& app, std::string_view name) {
  for (const CLI::Option* option : app.get_options())
    if (option->get_name() == name || option->get_name(true) == name || option->get_name(false, true) == name)
      return option;
  return nullptr;
}

/// The name a message calls it by.
std::string spoken(const CLI::Option& option) {
  return option.get_positional() || option.get_lnames().empty() ? option.get_name(true)
                                                                : "--" + option.get_lnames().front();
}

/// "one of auto, cpu or cuda:N".
std::string one_of(const FlagValues& values) {
  return fmt::format("one of {}{}{}", fmt::join(values.names, ", "), values.others.empty() ? "" : " or ",
                     values.others);
}

/// "a whole number", "one of auto, fp32"; empty where anything goes.
std::string allowed(const CLI::Option& option) {
  if (option.get_type_name() == "N") return "a whole number";
  if (option.get_type_name() == "X") return "a number";
  const auto values = values_of(option);
  if (!values || values->names.empty()) return "";
  return one_of(*values);
}

template <class Number>
bool reads_whole(const std::string& text, Number& number) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && stop == end;
}

/// What is wrong with a value, "" if nothing is.
std::string fault(const CLI::App& command, const CLI::Option& option, const std::string& value) {
  // `--model --epochs 3` would take a flag for a model.
  if (value.starts_with("--") && has_flag(command, value.substr(0, value.find('='))))
    return fmt::format("{}: a value is missing before {}", spoken(option), value);
  const auto says = [&](const std::string& advice) {
    return fmt::format("{} {}: {}", spoken(option), value.empty() ? "''" : value, advice);
  };
  const std::string type = option.get_type_name();
  if (type == "N") {
    long long number = 0;
    if (!reads_whole(value, number)) return says("give a whole number");
  } else if (type == "X") {
    double number = 0;
    if (!reads_whole(value, number)) return says("give a number");
  } else if (const auto values = values_of(option); values && !values->names.empty()) {
    const auto& names = values->names;
    if (std::find(names.begin(), names.end(), value) == names.end() &&
        !(values->is_other && values->is_other(value)))
      return says(fmt::format("choose {}{}", one_of(*values), did_you_mean(value, names)));
  }
  return "";
}

/// What other programs call our flags.
const std::map<std::string, std::string>& foreign_names() {
  static const std::map<std::string, std::string> names{
      {"--learning-rate", "--lr"},   {"--batch-size", "--batch"},    {"--num-epochs", "--epochs"},
      {"--dataset", "--data"},       {"--data-dir", "--data"},       {"--out", "--output"},
      {"--output-dir", "--run-dir"}, {"--num-threads", "--threads"}, {"--arch", "--model"},
      {"--checkpoint", "--resume"},  {"--device-type", "--device"},  {"--wd", "--weight-decay"},
      {"--dtype", "--precision"},    {"--random-seed", "--seed"}};
  return names;
}

/// "; did you mean '--epochs'?" among the flags of a command, also by what others call them.
std::string suggest_flag(const CLI::App& command, const std::string& flag) {
  // Dashes are no letters: -epochs and --epoch are as near to --epochs.
  const auto bare = [](const std::string& name) { return name.substr(name.find_first_not_of('-')); };
  if (flag.find_first_not_of('-') == std::string::npos) return "";
  std::vector<std::string> names = long_flags(command);
  for (const auto& [foreign, ours] : foreign_names())
    if (has_flag(command, ours) && !has_flag(command, foreign)) names.push_back(foreign);
  for (std::string& name : names) name = bare(name);
  const auto found = nearest(bare(flag), names);
  if (!found) return "";
  const auto ours = foreign_names().find("--" + *found);
  const bool translate = ours != foreign_names().end() && !has_flag(command, ours->first);
  return fmt::format("; did you mean '{}'?", translate ? ours->second : "--" + *found);
}

void find_owners(const CLI::App& app, std::string_view flag, std::vector<std::string>& owners) {
  for (const CLI::App* command : commands_of(app)) {
    if (has_flag(*command, flag)) owners.push_back("`" + title(*command) + "`");
    find_owners(*command, flag, owners);
  }
}

std::string unknown_flag(const CLI::App& app, const std::string& word) {
  const CLI::App& command = chosen(app);
  const std::string flag = word.substr(0, word.find('='));
  if (has_flag(command, flag))  // `quern --epochs 3 train`
    return fmt::format("{} stands before the command: write it after `{}`", flag, title(command));
  std::vector<std::string> owners;
  find_owners(app, flag, owners);
  if (owners.empty())
    return fmt::format("`{}` has no flag {}{}", title(command), flag, suggest_flag(command, flag));
  if (owners.size() > 3) {
    owners.resize(3);
    owners.back() += " and others";
  }
  return fmt::format("`{}` has no flag {}: {} belongs to {}{}", title(command), flag, flag,
                     fmt::join(owners, ", "), suggest_flag(command, flag));
}

std::vector<std::string> names_of(const std::vector<const CLI::App*>& commands) {
  std::vector<std::string> names;
  for (const CLI::App* command : commands) names.push_back(command->get_name());
  return names;
}

/// Of words that nothing took.
std::string message_of_extras(const CLI::App& app) {
  const std::vector<std::string> words = app.remaining(/*recurse=*/true);
  if (words.empty()) return "there are words that nothing takes";
  const CLI::App& command = chosen(app);
  const std::vector<std::string> below = names_of(commands_of(command));
  if (!below.empty() && &command != &app)
    return fmt::format("'{}' is no command of `{}`, which has {}{}", words[0], title(command),
                       fmt::join(below, ", "), did_you_mean(words[0], below));
  return fmt::format("`{}` does not take '{}': {}", title(command), words[0],
                     "the words before it were all it needs, or a flag is missing");
}

/// The flag a message of CLI11's begins with, as far as there is one.
const CLI::Option* named_option(const CLI::App& command, const std::string& message) {
  return find_option(command, message.substr(0, message.find(':')));
}

std::string message_of_missing(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& command = chosen(app);
  const std::string text = error.what();
  if (!commands_of(command).empty() && text.find("subcommand") != std::string::npos)
    return fmt::format("a command is missing: choose one of {}",
                       fmt::join(names_of(commands_of(command)), ", "));
  const CLI::Option* option = find_option(command, text.substr(0, text.find(" is required")));
  if (option == nullptr) return text;
  return fmt::format("`{}` needs {}: {}", title(command), flag_heading(*option), option->get_description());
}

std::string message_of_count(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::Option* option = named_option(chosen(app), error.what());
  if (option == nullptr) return error.what();
  if (!takes_value(*option)) return fmt::format("{} takes no value", spoken(*option));
  const std::string values = allowed(*option);
  return fmt::format("{}: a value is missing{}", spoken(*option), values.empty() ? "" : ": give " + values);
}

std::string message_of_conversion(const CLI::App& app, const CLI::ParseError& error) {
  // "Could not convert: --epochs = 99999999999": a whole number, but none that fits.
  std::string text = error.what();
  const std::string prefix = "Could not convert: ";
  const std::size_t equals = text.find(" = ");
  if (!text.starts_with(prefix) || equals == std::string::npos) return text;
  const std::string name = text.substr(prefix.size(), equals - prefix.size());
  const CLI::Option* option = find_option(chosen(app), name);
  return fmt::format(
      "{} {}: {}", option == nullptr ? name : spoken(*option), text.substr(equals + 3),
      option != nullptr && !takes_value(*option) ? "this flag takes no value" : "the number does not fit");
}

/// CLI11 puts the flag before what guard_values() found, which names it already.
std::string message_of_value(const CLI::App& app, const CLI::ParseError& error) {
  const std::string text = error.what();
  const CLI::Option* option = named_option(chosen(app), text);
  const std::size_t colon = text.find(": ");
  if (option == nullptr || colon == std::string::npos) return text;
  const std::string rest = text.substr(colon + 2);
  return rest.starts_with(spoken(*option)) ? rest : spoken(*option) + ": " + rest;
}

std::string main_part(const CLI::App& app, const CLI::ParseError& error) {
  // A flag that is not there explains what else went wrong: its value was taken for an argument, or what it
  // would have been is missing.
  for (const std::string& word : app.remaining(/*recurse=*/true))
    if (word.starts_with('-') && word.size() > 1) return unknown_flag(app, word);
  switch (static_cast<CLI::ExitCodes>(error.get_exit_code())) {
    case CLI::ExitCodes::ExtrasError:
      return message_of_extras(app);
    case CLI::ExitCodes::RequiredError:
      return message_of_missing(app, error);
    case CLI::ExitCodes::ArgumentMismatch:
      return message_of_count(app, error);
    case CLI::ExitCodes::ConversionError:
    case CLI::ExitCodes::InvalidError:
      return message_of_conversion(app, error);
    case CLI::ExitCodes::ValidationError:
      return message_of_value(app, error);
    default:
      return error.what();
  }
}

}  // namespace

void guard_values(CLI::App& app) {
  for (CLI::Option* option : app.get_options())
    if (takes_value(*option))
      // A transformation, since those come before all checks.
      option->transform(CLI::Validator(
          [&app, option](std::string& value) { return fault(app, *option, value); }, "", "guard"));
  for (CLI::App* command : commands_of(app)) guard_values(*command);
}

void check_command(const CLI::App& app, std::string_view first) {
  if (first.starts_with('-')) return;
  const std::vector<std::string> names = names_of(commands_of(app));
  if (std::find(names.begin(), names.end(), first) == names.end())
    fail_input("unknown command '{}': choose one of {}{}", first, fmt::join(names, ", "),
               did_you_mean(first, names));
}

std::string message_of(const CLI::App& app, const CLI::ParseError& error) {
  const std::string message = main_part(app, error);
  return fmt::format("{}{} see `{} --help`", message, message.ends_with('?') ? "" : ";", title(chosen(app)));
}

}  // namespace quern::cli
