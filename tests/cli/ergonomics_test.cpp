#include "quern/image.hpp"
#include "tests/cli/cli_fixture.hpp"

namespace quern {
namespace {

using testing::HasSubstr;
using testing::Not;
using Ergonomics = test::Cli;

TEST_F(Ergonomics, MisspeltFlagsGetASuggestion) {
  expect_bad_usage({"train", "--epoch", "3"}, {"--epoch", "did you mean '--epochs'?", "quern train --help"});
  expect_bad_usage({"train", "--lerning-rate=3"}, {"--lerning-rate"});
  expect_bad_usage({"eval", "--trainset", "x"}, {"did you mean '--train-set'?"});
  expect_bad_usage({"trian"}, {"did you mean 'train'?"});
}

TEST_F(Ergonomics, HelpHasExamples) {
  EXPECT_THAT(quern({"--help"}).out, HasSubstr("quern train --model lenet5"));
  EXPECT_THAT(quern({"predict", "--help"}).out, HasSubstr("quern predict digit.png"));
}

TEST_F(Ergonomics, CompletionKnowsEveryCommandAndItsFlags) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const test::Outcome outcome = quern({"completion", shell});
    EXPECT_EQ(outcome.status, 0);
    for (const char* part :
         {"train", "data", "export", "completion", "label-smoothing", "keep-bn", "preview"})
      EXPECT_THAT(outcome.out, HasSubstr(part)) << shell;
  }
  expect_bad_usage({"completion", "tcsh"}, {"tcsh", "bash, zsh or fish"});
}

TEST_F(Ergonomics, BashCompletes) {
  const std::string script =
      std::string("source <(") + QUERN_BINARY +
      " completion bash); COMP_WORDS=(quern train --ep) COMP_CWORD=2; _quern; echo "
      "\"flags ${COMPREPLY[*]}\"; COMP_WORDS=(quern ex) COMP_CWORD=1; _quern; echo \"commands "
      "${COMPREPLY[*]}\"";
  std::ofstream(folder_ / "try.sh") << script << "\n";
  const std::string command = "bash " + (folder_ / "try.sh").string() + " > " + (folder_ / "tried").string();
  ASSERT_EQ(std::system(command.c_str()), 0);
  const std::string text = test::read_text(folder_ / "tried");
  EXPECT_THAT(text, HasSubstr("--epochs"));
  EXPECT_THAT(text, Not(HasSubstr("--optimizer")));
  EXPECT_THAT(text, HasSubstr("commands export"));
}

TEST_F(Ergonomics, PredictTakesFoldersAndShowsWhatItSaw) {
  train_json({"--run-dir", "runs/first"});
  std::filesystem::create_directories(folder_ / "digits");
  GrayImage image{8, 8, std::vector<std::uint8_t>(64, 0)};
  for (const std::size_t at : {9u, 10u, 11u, 17u, 25u}) image.pixels[at] = 200;
  write_png(folder_ / "digits/b.png", image);
  write_png(folder_ / "digits/a.PNG", image);
  std::ofstream(folder_ / "digits/notes.txt") << "no picture";
  const nlohmann::json json = last_line_json(quern({"predict", "digits", "#3", "--json"}));
  ASSERT_EQ(json["predictions"].size(), 3u);
  EXPECT_EQ(json["predictions"][0]["image"], "digits/a.PNG");
  EXPECT_EQ(json["predictions"][1]["image"], "digits/b.png");
  // Rows 0 and 1, 2 and 3, ... by twos: the upper stroke is a lower half, the stem fills a block.
  const std::string drawn = quern({"predict", "digits/b.png", "--show"}).out;
  EXPECT_THAT(drawn, HasSubstr("digits/b.png:\n \u2584\u2584\u2584\n \u2588\n\n\n"));
  EXPECT_THAT(quern({"predict", "digits/b.png"}).out, Not(HasSubstr("\u2584")));
  std::filesystem::create_directories(folder_ / "empty");
  expect_bad_usage({"predict", "empty"}, {"empty", "no PNG or PGM"});
}

}  // namespace
}  // namespace quern
