#include "quern/image.hpp"
#include "tests/cli/cli_fixture.hpp"

namespace quern {
namespace {

using testing::HasSubstr;
using testing::Not;
using Ergonomics = test::Cli;

TEST_F(Ergonomics, MisspeltFlagsGetASuggestion) {
  expect_bad_usage({"train", "--epoch", "3"}, {"--epoch", "did you mean '--epochs'?", "quern train --help"});
  expect_bad_usage({"train", "--lerning-rate=3"}, {"--lerning-rate", "did you mean '--lr'?"});
  expect_bad_usage({"eval", "--trainset", "x"}, {"did you mean '--train-set'?"});
  expect_bad_usage({"trian"}, {"did you mean 'train'?"});
}

// What only the command itself finds out.
TEST_F(Ergonomics, MisspeltNamesGetASuggestion) {
  const auto plan = [](const char* impl) {
    return std::vector<std::string>{"info", "--plan", "--device", "cpu", "--impl", impl};
  };
  expect_bad_usage(plan("onednnn"), {"onednnn", "did you mean 'onednn'?"});
  expect_bad_usage(plan("conv2d.forwrd=reference"),
                   {"'conv2d.forwrd' is no operation", "did you mean 'conv2d.forward'?"});
  expect_bad_usage(plan("conv2d.forward=refrence"), {"'refrence'", "did you mean 'reference'?"});
  expect_bad_usage(plan("dense=onednn,conv2d=reference:naiv"),
                   {"'reference:naiv'", "did you mean 'reference:naive'?"});
  expect_bad_usage({"check", "--device", "cpu", "--impl", "onednnn"}, {"did you mean 'onednn'?"});
  expect_bad_usage({"bench", "--device", "cpu", "--impl", "onednnn"}, {"did you mean 'onednn'?"});
  expect_bad_usage({"data", "--data", "fashion-mnits"}, {"fashion-mnits", "did you mean 'fashion-mnist'?"});
  expect_bad_usage({"train", "--data", "mnits"}, {"mnits", "did you mean 'mnist'?"});
  const auto spec = [&](const char* text) {
    std::ofstream(folder_ / "wrong.json") << text;
    return std::vector<std::string>{"models", "wrong.json"};
  };
  expect_bad_usage(spec(R"({"name": "w", "input": {"shape": [8, 8, 1]}, "layrs": []})"),
                   {"'layers' is missing; did you mean it by 'layrs'?"});
  expect_bad_usage(spec(R"({"name": "w", "input": {"shape": [8, 8, 1]}, "layers": [
      {"name": "c", "op": "conv2", "filters": 4, "kernel": 3}]})"),
                   {"'conv2'", "did you mean 'conv2d'?"});
  expect_bad_usage(spec(R"({"name": "w", "input": {"shape": [8, 8, 1]}, "layers": [
      {"name": "c", "op": "conv2d", "filtres": 4, "kernel": 3}]})"),
                   {"'filters' is missing; did you mean it by 'filtres'?"});
  expect_bad_usage(spec(R"({"name": "w", "input": {"shape": [8, 8, 1]}, "layers": [
      {"name": "flat", "op": "flatten"}, {"name": "logits", "op": "dense", "units": 4, "inputs": ["falt"]}]})"),
                   {"'falt'", "did you mean 'flat'?"});
  expect_bad_usage(spec(R"({"name": "w", "input": {"shape": [8, 8, 1]}, "layers": [
      {"name": "flat", "op": "flatten"}, {"name": "logits", "op": "dense", "units": 4}],
      "recipe": {"optimizer": "adm"}})"),
                   {"'adm'", "did you mean 'adam'?"});
}

TEST_F(Ergonomics, MessagesShowControlCharacters) {
  expect_bad_usage({"tra\x1b[2Jin"}, {"unknown command 'tra\\x1b[2Jin'"});
  expect_bad_usage({"train", "--model", "a\nb"}, {"a\\nb"});
  expect_bad_usage({"eval",
                    "no\tsuch\xff"
                    "folder"},
                   {"no\\tsuch\\xff"
                    "folder"});
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
         {"train", "data", "export", "completion", "man", "label-smoothing", "keep-bn", "preview",
          "to-accuracy", "adam adamw sgd", "conv2d.forward", "auto cpu emu cuda", "seed-bn", "sm_90"})
      EXPECT_THAT(outcome.out, HasSubstr(part)) << shell;
  }
  expect_bad_usage({"completion", "tcsh"}, {"tcsh", "bash, zsh, fish"});
}

TEST_F(Ergonomics, BashCompletes) {
  // What the last word of the line becomes; "=" is a word of its own, as bash splits it.
  const auto completed = [&](const std::string& line) {
    std::ofstream(folder_ / "try.sh")
        << "source <(" << QUERN_BINARY << " completion bash); COMP_WORDS=(" << line
        << "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _quern; echo \"${COMPREPLY[*]}\"\n";
    const std::string command =
        "bash " + (folder_ / "try.sh").string() + " > " + (folder_ / "tried").string();
    EXPECT_EQ(std::system(command.c_str()), 0);
    std::string text = test::read_text(folder_ / "tried");
    return text.substr(0, text.find('\n'));
  };
  EXPECT_EQ(completed("quern ex"), "export");
  EXPECT_EQ(completed("quern ma"), "man");
  EXPECT_EQ(completed("quern train --ep"), "--epochs --epsilon");
  EXPECT_EQ(completed("quern bench train --to"), "--to-accuracy");
  EXPECT_EQ(completed("quern bench tr"), "train");
  EXPECT_EQ(completed("quern train --optimizer ad"), "adam adamw");
  EXPECT_EQ(completed("quern train --schedule = co"), "constant cosine");
  EXPECT_EQ(completed("quern train --device ''"), "auto cpu emu cuda");
  EXPECT_EQ(completed("quern check --op dense.f"), "dense.forward");
  EXPECT_EQ(completed("quern train --model seed-b"), "seed-bn");
  EXPECT_EQ(completed("quern completion z"), "zsh");
  EXPECT_EQ(completed("quern models lene"), "lenet5");
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
