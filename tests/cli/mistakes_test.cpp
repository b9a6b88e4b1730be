// A table of mistakes: what is typed, and what the message must say. The program ends with 2 on all of them,
// which commands_test.cpp sees with the program itself.

#include "cli/mistakes.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/console.hpp"
#include "cli/flags.hpp"
#include "cli/help.hpp"
#include "cli/values.hpp"
#include "quern/error.hpp"
#include "quern/executor.hpp"
#include "quern/plan.hpp"
#include "quern/recipe.hpp"
#include "quern/suggest.hpp"
#include "tests/cli/command_line.hpp"

namespace quern::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

struct Mistake {
  const char* line;
  std::vector<std::string> says;
};

std::string message(const std::string& line) {
  std::vector<std::string> words = test::shell_words(line);
  words.erase(words.begin());
  return test::CommandLine().parse(words);
}

void expect_messages(std::initializer_list<Mistake> table) {
  for (const Mistake& mistake : table) {
    const std::string text = message(mistake.line);
    EXPECT_NE(text, "") << mistake.line << " was understood";
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    for (const std::string& part : mistake.says) EXPECT_THAT(text, HasSubstr(part)) << mistake.line;
  }
}

TEST(Mistakes, Commands) {
  expect_messages({
      {"quern trian", {"unknown command 'trian'", "did you mean 'train'?"}},
      {"quern evl x", {"did you mean 'eval'?"}},
      {"quern bench trian", {"'trian' is no command of `quern bench`", "did you mean 'train'?"}},
      {"quern frobnicate", {"unknown command 'frobnicate'", "train, sweep"}},
      {"quern --json", {"`quern` has no flag --json", "see `quern --help`"}},
  });
  EXPECT_THAT(message("quern frobnicate"), Not(HasSubstr("did you mean")));
}

TEST(Mistakes, FlagsThatAreNearOnes) {
  expect_messages({
      {"quern train --epoch 3", {"no flag --epoch", "did you mean '--epochs'?", "see `quern train --help`"}},
      {"quern train --epcohs=3", {"no flag --epcohs", "did you mean '--epochs'?"}},
      {"quern train -epochs 3", {"did you mean '--epochs'?"}},
      {"quern train --Epochs 3", {"did you mean '--epochs'?"}},
      {"quern train --learning-rate 0.1", {"did you mean '--lr'?"}},
      {"quern train --lerning-rate=0.1", {"did you mean '--lr'?"}},
      {"quern train --batch-size 32", {"did you mean '--batch'?"}},
      {"quern train --label 0.1", {"did you mean '--label-smoothing'?"}},
      {"quern train --model seed --no-sav", {"did you mean '--no-save'?"}},
      {"quern eval --trainset x", {"did you mean '--train-set'?"}},
      {"quern bench train --modle seed", {"did you mean '--model'?", "see `quern bench train --help`"}},
      {"quern info --assum=sm_90", {"did you mean '--assume'?"}},
      {"quern --versoin", {"did you mean '--version'?"}},
      {"quern train --xyzzy", {"`quern train` has no flag --xyzzy"}},
  });
  EXPECT_THAT(message("quern train --xyzzy"), Not(HasSubstr("did you mean")));
  EXPECT_THAT(message("quern train --xy"), Not(HasSubstr("did you mean")));
}

TEST(Mistakes, FlagsOfAnotherCommand) {
  expect_messages({
      {"quern eval runs/x --epochs 3", {"--epochs belongs to `quern train`"}},
      {"quern train --checkpoint runs/x", {"--checkpoint belongs to `quern predict`"}},
      {"quern train --onnx=net.onnx", {"--onnx belongs to `quern export`"}},
      {"quern eval runs/x --shape-set seed", {"--shape-set belongs to `quern bench`"}},
      {"quern models --to-accuracy 0.9", {"--to-accuracy belongs to `quern bench train`"}},
      {"quern --epochs 3 train", {"--epochs stands before the command", "write it after `quern train`"}},
  });
}

TEST(Mistakes, ValuesThatAreMissingOrTooMany) {
  expect_messages({
      {"quern train --epochs", {"--epochs: a value is missing: give a whole number"}},
      {"quern train --lr", {"--lr: a value is missing: give a number"}},
      {"quern train --optimizer", {"--optimizer: a value is missing: give one of adam, adamw"}},
      {"quern train --model --epochs 3", {"--model: a value is missing before --epochs"}},
      {"quern train --run-dir --epochs=3", {"--run-dir: a value is missing before --epochs=3"}},
      {"quern train --json=maybe", {"--json", "maybe", "takes no value"}},
      {"quern eval", {"`quern eval` needs checkpoint: A run folder or a checkpoint file"}},
      {"quern import net.safetensors", {"`quern import` needs -o, --output FILE"}},
      {"quern export runs/a runs/b --onnx f", {"`quern export` does not take 'runs/b'"}},
      {"quern train seed", {"`quern train` does not take 'seed'"}},
      {"quern", {"a command is missing: choose one of train, sweep"}},
  });
}

TEST(Mistakes, Numbers) {
  expect_messages({
      {"quern train --epochs three", {"--epochs three: give a whole number"}},
      {"quern train --epochs=1.5", {"--epochs 1.5: give a whole number"}},
      {"quern train --epochs 1e3", {"--epochs 1e3: give a whole number"}},
      {"quern train --epochs ''", {"--epochs '': give a whole number"}},
      {"quern train --epochs 99999999999", {"--epochs 99999999999: the number does not fit"}},
      {"quern train --seed 99999999999999999999", {"--seed 99999999999999999999: give a whole number"}},
      {"quern train --lr fast", {"--lr fast: give a number"}},
      {"quern train --lr 0,1", {"--lr 0,1: give a number"}},
      {"quern train --milestones 3,x", {"--milestones x: give a whole number"}},
      {"quern bench --samples 0", {"--samples", "0", "1", "1000"}},
      {"quern profile --steps -1", {"--steps", "-1"}},
  });
}

TEST(Mistakes, Names) {
  expect_messages({
      {"quern train --optimizer adm", {"--optimizer adm: choose one of adam, adamw", "did you mean 'adam'?"}},
      {"quern train --schedule=cosin",
       {"--schedule cosin: choose one of constant", "did you mean 'cosine'?"}},
      {"quern train --precision fp23",
       {"--precision fp23: choose one of auto, fp32", "did you mean 'fp32'?"}},
      {"quern train --graph lopp", {"--graph lopp: choose one of auto, loop", "did you mean 'loop'?"}},
      {"quern train --on-nan skp", {"--on-nan skp: choose one of stop, skip", "did you mean 'skip'?"}},
      {"quern train --device cup",
       {"--device cup: choose one of auto, cpu, emu, cuda or cuda:N", "did you mean 'cpu'?"}},
      {"quern train --device cuda:x", {"--device cuda:x: choose one of"}},
      {"quern train --model seed-nb", {"--model seed-nb", "seed-bn", "did you mean 'seed-bn'?"}},
      {"quern profile --model ''", {"--model", "lenet5"}},
      {"quern models lenet", {"lenet", "did you mean 'lenet5'?"}},
      {"quern check --op conv2d.foward", {"--op conv2d.foward", "did you mean 'conv2d.forward'?"}},
      {"quern check --op dens", {"did you mean 'dense'?"}},
      {"quern check --mode gard", {"--mode gard: choose one of test, grad", "did you mean 'grad'?"}},
      {"quern bench --shape-set sweeep", {"--shape-set sweeep", "did you mean 'sweep'?"}},
      {"quern info --plan --assume sm90", {"--assume sm90", "did you mean 'sm_90'?"}},
      {"quern import f -o g --layout troch",
       {"--layout troch: choose one of torch, keras", "did you mean 'torch'?"}},
      {"quern completion bsh", {"bsh", "bash, zsh, fish", "did you mean 'bash'?"}},
  });
}

TEST(Mistakes, RecipeFlagsNameThemselves) {
  const auto fault = [](const std::vector<std::string>& words) -> std::string {
    CLI::App app("test", "quern");
    RecipeFlags flags;
    flags.add_to(app);
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));
    Recipe recipe;
    try {
      flags.apply(recipe);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(fault({"--batch", "0"}), HasSubstr("--batch 0: must be at least 1"));
  EXPECT_THAT(fault({"--epochs", "-1"}), HasSubstr("--epochs -1: must not be negative"));
  EXPECT_THAT(fault({"--momentum", "1.5"}), HasSubstr("--momentum 1.5: must be in [0, 1)"));
  EXPECT_THAT(fault({"--lr", "inf"}), HasSubstr("--lr inf: must be a finite number"));
  EXPECT_THAT(fault({"--augment-rotate", "-10"}), HasSubstr("--augment-rotate -10: must be in [0, 180]"));
  EXPECT_THAT(fault({"--augment-elastic", "2000"}),
              HasSubstr("--augment-elastic 2000: must be in [0, 1024]"));
  EXPECT_THAT(fault({"--augment-erase", "-1"}), HasSubstr("--augment-erase -1: must be in [0, 65536]"));
  EXPECT_THAT(fault({"--augment-crop", "2000"}), HasSubstr("--augment-crop 2000: must be in [0, 1024]"));
  EXPECT_THAT(fault({"--augment-flip", "2"}), HasSubstr("--augment-flip 2: must be in [0, 1]"));
  EXPECT_THAT(fault({"--gamma", "2"}), HasSubstr("--gamma 2: must be in [0, 1]"));
  EXPECT_THAT(fault({"--milestones", "0"}), HasSubstr("--milestones 0: must be at least 1"));
  EXPECT_EQ(fault({"--batch", "8", "--momentum", "0.5", "--augment-rotate", "10"}), "");
}

TEST(Mistakes, ValuesThatAreOfferedAreTaken) {
  test::CommandLine line;
  for (const CLI::App* command : test::CommandLine::commands(line.app()))
    for (const CLI::Option* option : command->get_options()) {
      const auto values = values_of(*option);
      if (!values || option->get_positional()) continue;
      EXPECT_FALSE(values->names.empty()) << option->get_name();
      for (const std::string& value : values->names) {
        const std::string text =
            message("quern " + command_path(*command) + " --" + option->get_lnames().front() + " " + value);
        EXPECT_THAT(text, Not(HasSubstr(value + ":"))) << option->get_name() << " " << value;
      }
    }
}

TEST(Mistakes, EveryListedNameIsOneThatIsRead) {
  test::CommandLine line;
  const auto names = [&](const char* command, const char* flag) {
    return values_of(*line.app().get_subcommand(command)->get_option(flag))->names;
  };
  for (const std::string& name : names("train", "--optimizer")) EXPECT_NO_THROW(parse_optimizer(name));
  for (const std::string& name : names("train", "--schedule")) EXPECT_NO_THROW(parse_schedule(name));
  for (const std::string& name : names("train", "--precision")) EXPECT_NO_THROW(parse_precision(name));
  for (const std::string& name : names("train", "--graph")) EXPECT_NO_THROW(parse_graph_mode(name));
  for (const std::string& name : names("train", "--impl")) EXPECT_NO_THROW(parse_impl_choice(name));
}

TEST(Suggestions, AreNearAndNotAnyShortWord) {
  const std::vector<std::string> names{"adam", "adamw", "sgd", "lr", "label-smoothing", "cosine"};
  EXPECT_EQ(did_you_mean("adm", names), "; did you mean 'adam'?");
  EXPECT_EQ(did_you_mean("cosien", names), "; did you mean 'cosine'?");
  EXPECT_EQ(did_you_mean("gsd", names), "; did you mean 'sgd'?");  // two letters swapped are one mistake
  EXPECT_EQ(did_you_mean("label", names), "; did you mean 'label-smoothing'?");
  EXPECT_EQ(did_you_mean("xy", names), "");
  EXPECT_EQ(did_you_mean("l", names), "");
  EXPECT_EQ(did_you_mean("momentum", names), "");
  EXPECT_EQ(did_you_mean("", names), "");
  EXPECT_EQ(did_you_mean("adam", {}), "");
}

}  // namespace
}  // namespace quern::cli
