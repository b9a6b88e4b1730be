#include "cli/help.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/cli/command_line.hpp"

namespace quern::cli {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

/// "" where the line can be typed as it stands.
std::string complaint(std::string_view line) {
  std::vector<std::string> words = test::shell_words(line);
  if (words.size() < 2 || words[0] != "quern") return "begins with no command of quern";
  words.erase(words.begin());
  return test::CommandLine().parse(words);
}

TEST(Help, EveryCommandIsDescribedWithExamples) {
  test::CommandLine line;
  for (const CLI::App* command : test::CommandLine::commands(line.app())) {
    const std::string path = command_path(*command);
    const CommandHelp* help = find_help(path);
    ASSERT_NE(help, nullptr) << "give `quern " << path << "` an entry in src/cli/help.cpp";
    EXPECT_GE(help->examples.size(), 2u) << path;
    EXPECT_GE(help->about.size(), 40u) << path;
    EXPECT_TRUE(help->about.ends_with('.')) << path;
    EXPECT_FALSE(help->group.empty()) << path;
    for (const Example& example : help->examples)
      EXPECT_THAT(std::string(example.line), StartsWith("quern " + path)) << "an example of another command";
  }
}

TEST(Help, DescribesNoCommandThatIsNotThere) {
  test::CommandLine line;
  std::set<std::string> paths;
  for (const CLI::App* command : test::CommandLine::commands(line.app()))
    paths.insert(command_path(*command));
  for (const CommandHelp& help : command_helps())
    EXPECT_EQ(paths.count(std::string(help.command)), 1u) << help.command;
}

TEST(Help, EveryExampleIsUnderstood) {
  for (const Example& example : first_examples()) EXPECT_EQ(complaint(example.line), "") << example.line;
  for (const CommandHelp& help : command_helps())
    for (const Example& example : help.examples) EXPECT_EQ(complaint(example.line), "") << example.line;
}

TEST(Help, AnExampleWithAFlagThatIsNotThereIsFoundOut) {
  EXPECT_THAT(complaint("quern train --epoch 3"), HasSubstr("--epoch"));
  EXPECT_THAT(complaint("quern bench train --modell seed"), HasSubstr("--modell"));
  EXPECT_THAT(complaint("quern export runs/first --onnx"), HasSubstr("--onnx"));
  EXPECT_NE(complaint("quern predict > file"), "");
  EXPECT_NE(complaint("cat file | quern train"), "");
}

TEST(Help, EveryFlagIsDescribedAndTakesSomethingNamed) {
  test::CommandLine line;
  for (const CLI::App* command : test::CommandLine::commands(line.app()))
    for (const CLI::Option* option : command->get_options()) {
      const std::string flag = command_path(*command) + " " + option->get_name();
      EXPECT_FALSE(option->get_description().empty()) << flag;
      if (!takes_value(*option) || option->get_positional()) continue;
      EXPECT_TRUE(option->get_type_name() != "TEXT" || option->get_name() == "--case")
          << flag << ": name what it takes in text_name() of src/cli/help_format.cpp";
    }
}

TEST(Help, SaysAllThereIsInTheWidthThereIs) {
  test::CommandLine line;
  for (const std::size_t columns : {60u, 80u, 100u})
    for (const CLI::App* command : test::CommandLine::commands(line.app())) {
      const CommandHelp* help = find_help(command_path(*command));
      ASSERT_NE(help, nullptr);
      const std::string text = help_text(*command, columns);
      for (const CLI::Option* option : command->get_options())
        EXPECT_THAT(text, HasSubstr(flag_heading(*option))) << command->get_name();
      std::istringstream lines(text);
      for (std::string words; std::getline(lines, words);) {
        const bool example = words.starts_with("  quern ") || words.starts_with("Usage: ");
        EXPECT_TRUE(example || words.size() <= columns) << columns << ": " << words;
        EXPECT_FALSE(words.ends_with(' ')) << words;
      }
    }
}

TEST(Help, GroupsCommandsAndNamesVariablesAndStatuses) {
  test::CommandLine line;
  const std::string text = help_text(line.app(), 80);
  for (const char* part :
       {"Usage: quern COMMAND [FLAGS]", "\nTrain and look:\n  train ", "\nMeasure:\n", "\nExchange:\n",
        "\nSetup:\n", "\nExamples:\n", "\nEnvironment:\n  QUERN_DATA ", "\nExit status:\n  0 "})
    EXPECT_THAT(text, HasSubstr(part));
  EXPECT_EQ(usage_line(*line.app().get_subcommand("predict")), "quern predict [FLAGS] IMAGE...");
  EXPECT_EQ(usage_line(*line.app().get_subcommand("models")), "quern models [FLAGS] [MODEL]");
  // A flag's heading, and what it takes.
  const std::string train = help_text(*line.app().get_subcommand("train"), 100);
  for (const char* part : {"\nRecipe:\n", "\nDevice:\n", "\nRun:\n", "  --model NAME|FILE ", "  --epochs N ",
                           "  --lr X ", "  -q, --quiet ", "130 (143)"})
    EXPECT_THAT(train, HasSubstr(part));
}

}  // namespace
}  // namespace quern::cli
