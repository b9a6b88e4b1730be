#include <nlohmann/json.hpp>

#include "cli/commands.hpp"
#include "cli/console.hpp"
#include "cli/flags.hpp"
#include "quern/checkpoint.hpp"
#include "quern/error.hpp"
#include "quern/exchange.hpp"
#include "quern/file.hpp"
#include "quern/version.hpp"

namespace quern::cli {
namespace {

struct ExportFlags {
  std::string checkpoint;
  std::optional<std::string> onnx, torch, keras;
  bool keep_bn = false;
  OutputFlags output;
};

int run_export(const ExportFlags& flags) {
  if (!flags.onnx && !flags.torch && !flags.keras)
    fail_input("nothing to export to: give --onnx FILE, --torch FILE or --keras FILE");
  if (flags.keep_bn && !flags.onnx) fail_input("--keep-bn is about --onnx: add it, or leave --keep-bn out");
  const std::filesystem::path path = find_checkpoint(flags.checkpoint, /*resume=*/false);
  const Checkpoint checkpoint = load_checkpoint(path);
  const bool average = !checkpoint.ema.empty();
  const std::vector<float>& weights = average ? checkpoint.ema : checkpoint.weights;

  nlohmann::json files = nlohmann::json::array();
  const auto wrote = [&](const char* format, const std::string& file) {
    files.push_back({{"format", format}, {"file", file}});
    if (!flags.output.quiet && !flags.output.json) fmt::print("wrote {} ({})\n", file, format);
  };
  if (!flags.output.quiet && !flags.output.json)
    fmt::print("{}: {} after {} epochs{}\n", path.string(), checkpoint.spec.name, checkpoint.state.epoch,
               average ? ", the average of its weights" : "");
  if (flags.onnx) {
    OnnxOptions options;
    options.keep_batchnorm = flags.keep_bn;
    options.class_names = checkpoint.run.class_names;
    write_file_atomically(*flags.onnx, encode_onnx(checkpoint.spec, weights, options));
    wrote("onnx", *flags.onnx);
  }
  if (flags.torch) {
    export_weights(*flags.torch, checkpoint.spec, weights, WeightHome::torch);
    wrote("torch", *flags.torch);
  }
  if (flags.keras) {
    export_weights(*flags.keras, checkpoint.spec, weights, WeightHome::keras);
    wrote("keras", *flags.keras);
  }
  if (flags.output.json)
    fmt::print("{}\n", nlohmann::json{{"checkpoint", path.string()},
                                      {"model", checkpoint.spec.name},
                                      {"average", average},
                                      {"files", std::move(files)},
                                      {"quern_version", version()}}
                           .dump());
  return 0;
}

}  // namespace

void add_export(CLI::App& app, int& status) {
  auto flags = std::make_shared<ExportFlags>();
  CLI::App* command =
      app.add_subcommand("export", "Write a checkpoint for other programs: ONNX, PyTorch, Keras");
  command->add_option("checkpoint", flags->checkpoint, "A run folder or a checkpoint file")->required();
  command->add_option("--onnx", flags->onnx, "The inference graph, for onnxruntime and others");
  command->add_option("--torch", flags->torch, "A safetensors file in PyTorch's names and layouts");
  command->add_option("--keras", flags->keras, "A safetensors file in Keras' names and layouts");
  command->add_flag("--keep-bn", flags->keep_bn,
                    "--onnx: leave batch normalisation as it is, instead of folding it into its neighbours");
  flags->output.add_to(*command);
  command->callback([flags, &status] { status = run_export(*flags); });
}

}  // namespace quern::cli
