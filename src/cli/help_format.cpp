// How help is laid out on a terminal.

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <utility>

#include "cli/console.hpp"
#include "cli/help.hpp"

namespace quern::cli {
namespace {

constexpr std::size_t kIndent = 2, kFlagColumn = 30, kExampleColumn = 60;
constexpr const char* kOwnFlags = "Flags";

/// The words of `text` in lines of at most `columns`; `indent` blanks stand before all but the first, which
/// begins at column `at`.
std::string wrap(std::string_view text, std::size_t columns, std::size_t indent, std::size_t at) {
  std::string out;
  bool first = true;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (word.empty()) continue;
    const std::size_t width = display_width(word);
    if (!first && at + 1 + width > columns) {
      out += '\n' + std::string(indent, ' ');
      at = indent;
    } else if (!first) {
      out += ' ';
      ++at;
    }
    out += word;
    at += width;
    first = false;
  }
  return out;
}

/// A name with its meaning beside it from `column` on, or below it where the name is too long.
std::string entry(std::string_view name, std::string_view meaning, std::size_t column, std::size_t columns) {
  std::string out = std::string(kIndent, ' ') + std::string(name);
  const std::size_t at = kIndent + display_width(name);
  if (at + 2 > column)
    out += '\n' + std::string(column, ' ');
  else
    out += std::string(column - at, ' ');
  return out + wrap(meaning, columns, column, column) + '\n';
}

std::string terms(const char* heading, std::span<const Term> list, std::size_t columns) {
  std::string out = fmt::format("\n{}:\n", heading);
  for (const Term& term : list) out += entry(term.name, term.meaning, 22, columns);
  return out;
}

std::string examples(std::span<const Example> list, std::size_t columns) {
  if (list.empty()) return "";
  std::size_t widest = 0;
  for (const Example& example : list) widest = std::max(widest, display_width(example.line));
  // Beside the lines where they leave room for it, else each below its line.
  const std::size_t column = widest + 2 + kIndent;
  const bool beside = column <= kExampleColumn && column + 30 <= columns;
  std::string out = "\nExamples:\n";
  for (const Example& example : list)
    out += beside ? entry(example.line, example.what, column, columns)
                  : entry(example.line, "", 6, columns).substr(0, kIndent + example.line.size()) +
                        "\n      " + wrap(example.what, columns, 6, 6) + "\n";
  return out;
}

std::string commands(const CLI::App& app, std::size_t columns) {
  std::vector<std::pair<std::string, std::string>> sections;
  for (const CLI::App* command : commands_of(app)) {
    auto section = std::find_if(sections.begin(), sections.end(),
                                [&](const auto& s) { return s.first == command->get_group(); });
    if (section == sections.end()) section = sections.insert(section, {command->get_group(), ""});
    section->second += entry(command->get_name(), command->get_description(), 14, columns);
  }
  std::string out;
  for (const auto& [heading, text] : sections) out += fmt::format("\n{}:\n{}", heading, text);
  return out;
}

/// What flags take that CLI11 knows as text only.
std::string_view text_name(const std::string& flag) {
  static const std::map<std::string_view, std::string_view> names{
      {"--model", "NAME|FILE"},  {"--data", "NAME|FOLDER"},  {"--device", "NAME"},
      {"--optimizer", "NAME"},   {"--schedule", "NAME"},     {"--precision", "NAME"},
      {"--graph", "NAME"},       {"--impl", "[OP=]NAME"},    {"--op", "NAME"},
      {"--mode", "NAME"},        {"--shape-set", "NAME"},    {"--layout", "NAME"},
      {"--on-nan", "NAME"},      {"--assume", "NAME"},       {"--rename", "OLD=NEW"},
      {"--shard", "I/N"},        {"--profile-steps", "A:B"}, {"--run-dir", "FOLDER"},
      {"--resume", "RUN"},       {"--checkpoint", "RUN"},    {"--first-steps", "FILE"},
      {"--onnx", "FILE"},        {"--torch", "FILE"},        {"--keras", "FILE"},
      {"--trace", "FILE"},       {"--preview", "FILE"},      {"--logits", "FILE"},
      {"--output", "FILE"},      {"--case", "TEXT"},         {"--set", "FIELD=VALUE"},
      {"--vary", "FLAG=VALUES"}, {"--dir", "FOLDER"}};
  const auto found = names.find(flag);
  return found == names.end() ? "TEXT" : found->second;
}

class HelpFormat final : public CLI::FormatterBase {
 public:
  std::string make_help(const CLI::App* app, std::string, CLI::AppFormatMode mode) const override {
    const std::size_t columns =
        stdout_is_terminal() ? std::clamp<std::size_t>(terminal_columns(stdout), 60, 100) : 100;
    std::string out = help_text(*app, columns);
    if (mode == CLI::AppFormatMode::All) add_commands(*app, columns, out);
    return out;
  }

 private:
  static void add_commands(const CLI::App& app, std::size_t columns, std::string& out) {
    for (const CLI::App* command : commands_of(app)) {
      out += fmt::format("\n{}\n\n{}", std::string(columns, '-'), help_text(*command, columns));
      add_commands(*command, columns, out);
    }
  }
};

}  // namespace

void use_help_format(CLI::App& app) {
  app.formatter(std::make_shared<HelpFormat>());
  app.option_defaults()->group(kOwnFlags);
}

void apply_help(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    if (!takes_value(*option)) continue;
    const std::string type = option->get_type_name();
    if (type == "INT" || type == "UINT") option->type_name("N");
    if (type == "FLOAT") option->type_name("X");
    if (type == "TEXT" && option->nonpositional())
      option->type_name(std::string(text_name("--" + option->get_lnames().front())));
  }
  if (const CommandHelp* help = find_help(command_path(app))) app.group(std::string(help->group));
  for (CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) apply_help(*command);
}

std::vector<CLI::App*> commands_of(CLI::App& app) {
  return app.get_subcommands([](CLI::App*) { return true; });
}

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

std::string command_path(const CLI::App& app) {
  if (app.get_parent() == nullptr) return "";
  const std::string before = command_path(*app.get_parent());
  return before.empty() ? app.get_name() : before + " " + app.get_name();
}

std::string usage_line(const CLI::App& app) {
  const std::string path = command_path(app);
  std::string text = path.empty() ? "quern" : "quern " + path;
  if (!commands_of(app).empty()) text += path.empty() ? " COMMAND" : " [COMMAND]";
  text += " [FLAGS]";
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_positional()) continue;
    std::string name = option->get_name(true);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    if (option->get_expected_max() > 1) name += "...";
    text += option->get_required() ? fmt::format(" {}", name) : fmt::format(" [{}]", name);
  }
  return text;
}

bool takes_value(const CLI::Option& option) {
  return option.get_items_expected_max() > 0;
}

std::string flag_heading(const CLI::Option& option) {
  if (option.get_positional()) return option.get_name(true);
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  std::string text = fmt::format("{}", fmt::join(names, ", "));
  if (takes_value(option)) text += " " + option.get_type_name();
  return text;
}

std::vector<FlagSection> flag_sections(const CLI::App& app) {
  std::vector<FlagSection> sections;
  const auto add = [&](const std::string& heading, const CLI::Option* option) {
    auto section = std::find_if(sections.begin(), sections.end(),
                                [&](const FlagSection& s) { return s.heading == heading; });
    if (section == sections.end()) section = sections.insert(section, {heading, {}});
    section->flags.push_back(option);
  };
  for (const CLI::Option* option : app.get_options())
    if (option->get_positional()) add("Arguments", option);
  // What every command has comes last.
  const auto common = [&](const CLI::Option* option) {
    return option == app.get_help_ptr() || option == app.get_help_all_ptr() ||
           option->get_name() == "--version";
  };
  for (const CLI::Option* option : app.get_options())
    if (!option->get_positional() && !common(option)) add(option->get_group(), option);
  for (const CLI::Option* option : app.get_options())
    if (common(option)) add("Help", option);
  return sections;
}

std::string help_text(const CLI::App& app, std::size_t columns) {
  const std::string path = command_path(app);
  const CommandHelp* help = find_help(path);
  std::string out =
      path.empty() ? wrap(app.get_description(), columns, 0, 0) + "\n\n"
                   : wrap(fmt::format("quern {}: {}", path, app.get_description()), columns, 2, 0) + "\n\n";
  out += fmt::format("Usage: {}\n", usage_line(app));
  if (help != nullptr) out += "\n" + wrap(help->about, columns, 0, 0) + "\n";
  out += commands(app, columns);
  for (const FlagSection& section : flag_sections(app)) {
    out += fmt::format("\n{}:\n", section.heading);
    for (const CLI::Option* option : section.flags)
      out += entry(flag_heading(*option),
                   option->get_description() + (option->get_required() ? " (required)" : ""), kFlagColumn,
                   columns);
  }
  if (path.empty()) {
    out += examples(first_examples(), columns);
    out += terms("Environment", environment_variables(), columns);
    out += terms("Exit status", exit_statuses(), columns);
    out += "\n" +
           wrap("`quern COMMAND --help` says more about a command, `quern man` prints the manual page.",
                columns, 0, 0) +
           "\n";
  } else if (help != nullptr) {
    out += examples(help->examples, columns);
    if (!help->exit_status.empty())
      out += fmt::format("\nExit status, beyond 0, 2 and 3 (see `quern --help`):\n  {}\n",
                         wrap(help->exit_status, columns, kIndent, kIndent));
  }
  return out;
}

}  // namespace quern::cli
