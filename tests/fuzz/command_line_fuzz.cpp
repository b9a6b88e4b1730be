/// The command line of every subcommand, parsed without being carried out: arguments separated by zero bytes.

#include <CLI/CLI.hpp>

#include "cli/app.hpp"
#include "cli/console.hpp"
#include "cli/flags.hpp"
#include "cli/mistakes.hpp"
#include "io/text.hpp"
#include "quern/recipe.hpp"
#include "tests/fuzz/fuzz_target.hpp"

using namespace quern;

namespace {

std::vector<std::string> arguments(const std::uint8_t* data, std::size_t size) {
  std::vector<std::string> result(1);
  for (std::size_t i = 0; i < size; ++i)
    if (data[i] == 0)
      result.emplace_back();
    else
      result.back() += static_cast<char>(data[i]);
  return result;
}

/// Thrown when all is parsed, instead of carrying it out.
struct Parsed {};

/// What complain() prints of a message must be one line that moves no cursor, whatever was typed.
void check_message(std::string_view message) {
  const std::string text = printable(message);
  for (const char c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) fuzz::fail("a control character in a message");
  if (printable(text) != text) fuzz::fail("a message that is not printable as it was made printable");
}

/// Parses; a mistake must end in one line.
void parse(CLI::App& app, const std::vector<std::string>& given) {
  try {
    app.parse(std::vector<std::string>(given.rbegin(), given.rend()));
  } catch (const Parsed&) {
  } catch (const CLI::Success&) {  // --help, --version
  } catch (const CLI::ParseError& error) {
    check_message(cli::message_of(app, error));
  }
}

void parse_command(const std::vector<std::string>& given) {
  int status = 0;
  CLI::App app("fuzz", "quern");
  cli::set_up(app, status);
  app.parse_complete_callback([] { throw Parsed(); });
  try {
    cli::check_command(app, given[0]);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::input) fuzz::fail("not an input error");
    check_message(error.what());
    return;
  }
  parse(app, given);
}

/// Flags that several commands share, and what they do to a recipe.
void apply_flags(const std::vector<std::string>& given) {
  cli::RecipeFlags recipe_flags;
  cli::DeviceFlags device_flags;
  CLI::App app("fuzz", "quern");
  recipe_flags.add_to(app);
  device_flags.add_to(app);
  parse(app, given);
  try {
    Recipe recipe;
    recipe_flags.apply(recipe);
    validate(recipe);
    device_flags.over({});
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::input) fuzz::fail(std::string("not an input error: ") + error.what());
    check_message(error.what());
  }
}

fuzz::Bytes line(std::string_view words) {
  fuzz::Bytes bytes;
  for (const char c : words) bytes.push_back(c == ' ' ? std::byte{0} : static_cast<std::byte>(c));
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 4096) return 0;
  const std::vector<std::string> given = arguments(data, size);
  parse_command(given);
  apply_flags({given.begin() + 1, given.end()});
  return 0;
}

std::vector<fuzz::Bytes> fuzz::seeds() {
  return {
      line("train --model lenet5 --epochs 10 --validation 5000 --early-stop 3 --lr 1e-3 --optimizer adamw"),
      line("train --resume runs/x --on-nan skip --json --no-save --limit-train 64"),
      line("train --batch 64 --seed 1 --schedule cosine --clip-norm 1 --weight-decay 0.1 --ema 0.99"),
      line("train --profile-steps 200:210 --require-accuracy 99 --device emu --threads 2 --precision bf16"),
      line("eval runs/x --json --device cpu"),
      line("predict runs/x digit.png #7"),
      line("data --preview sheet.png"),
      line("check --device emu --op conv2d --impl onednn --shard 0/2 --mode test --races"),
      line("bench --op dense.forward --json"),
      line("export runs/x --onnx net.onnx --torch a --keras b"),
      line("import w.safetensors -o out --model seed --layout torch --rename a=b --rename c=d"),
      line("report runs/a runs/b"),
      line("profile --model seed-bn --steps 3"),
      line("info --plan --model resnet-tiny --impl conv2d.forward=reference,dense.forward=onednn"),
      line("models seed-bn"),
      line("completion bash"),
      line("--version"),
      line("--help-all"),
      line("trian"),
      line("train --epochs three"),
      line("train --optimizer \x1b[31madm"),
      line("eval --model --epochs 3 \xc2\x9b"),
      line("man"),
      line("-")};
}

// All options of all commands are built anew for each line.
std::size_t fuzz::allocation_limit(std::size_t input_bytes) {
  return 64 * input_bytes + (1 << 20);
}
