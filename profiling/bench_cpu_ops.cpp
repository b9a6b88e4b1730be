// Times every node of a model's training step on the CPU, with every implementation that serves it, and the
// whole step. Google Benchmark; its flags apply, and before them:
//
//   quern_bench_cpu_ops [--model seed-bn] [--batch 64] [--threads 0] [--impl onednn] [--no-fuse] [benchmark
//   flags]
//
// Alternatives should be compared in alternation, for a machine's speed drifts:
//   --benchmark_filter=conv2.forward --benchmark_repetitions=9 --benchmark_enable_random_interleaving=true

#include <benchmark/benchmark.h>

#include <charconv>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ops/slots.hpp"
#include "quern/error.hpp"
#include "quern/executor.hpp"
#include "quern/graph.hpp"
#include "quern/philox.hpp"

namespace quern {
namespace {

struct Options {
  std::string model = "seed-bn", impl;
  std::int64_t batch = 64;
  int threads = 0;
  bool fuse = true;
};

constexpr std::int64_t kImages = 4096;

/// Values that every operation can work with: activations in [0, 1), classes below 10, window indices
/// below 4.
void fill(const TensorDesc& desc, void* data, std::uint32_t stream) {
  const auto draw = [&](std::int64_t i) {
    return philox_u32(1, RandomPurpose::test, stream, 0, static_cast<std::uint64_t>(i));
  };
  const bool step = desc.dtype == DType::u8 && desc.shape == Shape{sizeof(StepScalars)};
  if (step) {
    StepScalars scalars;
    scalars.learning_rate = 1e-3f;
    scalars.bias_correction1 = 0.9f;
    scalars.bias_correction2 = 0.5f;
    scalars.ema_decay = 0.99f;
    std::memcpy(data, &scalars, sizeof scalars);
    return;
  }
  for (std::int64_t i = 0; i < desc.elements(); ++i) {
    switch (desc.dtype) {
      case DType::f32:
        static_cast<float*>(data)[i] = uniform_from_u32(draw(i)) - 0.25f;
        break;
      case DType::u32:
        static_cast<std::uint32_t*>(data)[i] = draw(i) % kImages;
        break;
      case DType::i32:
        static_cast<std::int32_t*>(data)[i] = static_cast<std::int32_t>(draw(i) % 10);
        break;
      case DType::u8:
        static_cast<std::uint8_t*>(data)[i] = static_cast<std::uint8_t>(draw(i) % 4);
        break;
      default:
        std::memset(data, 0, desc.bytes());
        return;
    }
  }
}

/// Operands of one node, outputs over inputs of the same name where the contract says so.
class Operands {
 public:
  Operands(const OpDesc& desc, Device& device) {
    const SlotLists slots = slots_of(desc);
    std::map<std::string, void*> inputs;
    for (std::size_t i = 0; i < desc.inputs.size(); ++i) {
      in_.push_back(add(desc.inputs[i], device));
      inputs[slots.inputs[i].name] = in_.back();
    }
    for (std::size_t i = 0; i < desc.outputs.size(); ++i) {
      const auto found = inputs.find(slots.outputs[i].name);
      out_.push_back(found != inputs.end() ? found->second : add(desc.outputs[i], device));
    }
  }
  RunArgs args(void* workspace) const { return {in_, out_, workspace, {}}; }

 private:
  void* add(const TensorDesc& desc, Device& device) {
    buffers_.emplace_back(device, desc.bytes());
    fill(desc, buffers_.back().data(), static_cast<std::uint32_t>(buffers_.size()));
    return buffers_.back().data();
  }
  std::vector<Buffer> buffers_;
  std::vector<void*> in_, out_;
};

void bench_node(benchmark::State& state, const OpDesc& desc, const Implementation& implementation,
                Device& device) {
  const Operands operands(desc, device);
  const auto executable = implementation.prepare(desc, device);
  const Buffer workspace(device, executable->workspace_bytes());
  const RunArgs args = operands.args(workspace.data());
  executable->run(args);
  for (auto _ : state) executable->run(args);
  const OpCost floor = cost(desc);
  const auto rate = [&](double amount) {
    return benchmark::Counter(amount * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  };
  state.counters["GFLOP/s"] = rate(floor.flops);
  state.counters["GB/s"] = rate(floor.bytes);
}

void bench_step(benchmark::State& state, const Plan& plan, Device& device) {
  Executor executor(plan, device);
  std::vector<Buffer> buffers;
  Bindings bindings;
  for (const Value& value : plan.graph.values) {
    if (value.storage == Storage::transient || value.alias_of != kNoValue) continue;
    buffers.emplace_back(device, value.desc.bytes());
    fill(value.desc, buffers.back().data(), static_cast<std::uint32_t>(buffers.size()));
    bindings[value.name] = buffers.back().data();
  }
  executor.bind(bindings);
  executor.run();
  for (auto _ : state) executor.run();
}

/// Takes our own flags out of the command line.
Options parse(int& argc, char** argv) {
  Options options;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    const auto value = [&]() -> std::string_view {
      if (i + 1 >= argc) fail_input("{} needs a value", flag);
      return argv[++i];
    };
    const auto number = [&] {
      const std::string_view text = value();
      int result = 0;
      if (std::from_chars(text.data(), text.data() + text.size(), result).ec != std::errc() || result < 0)
        fail_input("{} needs a number, got '{}'", flag, text);
      return result;
    };
    if (flag == "--model")
      options.model = value();
    else if (flag == "--impl")
      options.impl = value();
    else if (flag == "--batch")
      options.batch = number();
    else if (flag == "--threads")
      options.threads = number();
    else if (flag == "--no-fuse")
      options.fuse = false;
    else
      argv[kept++] = argv[i];
  }
  argc = kept;
  return options;
}

int run(int argc, char** argv) {
  const Options options = parse(argc, argv);
  const auto device = open_device("cpu", options.threads);
  const Registry registry = Registry::with_all_providers();
  GraphOptions graph_options;
  graph_options.batch = options.batch;
  graph_options.dataset_images = kImages;
  graph_options.order_length = kImages;
  graph_options.fuse = options.fuse;
  PlanOptions plan_options;
  if (!options.impl.empty()) plan_options.forced.push_back(parse_impl_choice(options.impl));
  const Plan plan = make_plan(build_graph(load_model_spec(options.model), graph_options), registry,
                              device->info(), plan_options);
  benchmark::RegisterBenchmark("step", bench_step, plan, std::ref(*device))
      ->Unit(benchmark::kMicrosecond)
      ->UseRealTime();
  for (const PlannedNode& node : plan.nodes) {
    for (const Implementation& candidate : registry.candidates(node.desc.op)) {
      if (candidate.device != DeviceKind::cpu || candidate.provider == Provider::reference ||
          candidate.refusal(node.desc, device->info()))
        continue;
      const Node& source = plan.graph.nodes[static_cast<std::size_t>(node.node)];
      benchmark::RegisterBenchmark((source.name + "/" + candidate.full_name()).c_str(), bench_node, node.desc,
                                   std::cref(candidate), std::ref(*device))
          ->Unit(benchmark::kMicrosecond)
          ->UseRealTime();
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace
}  // namespace quern

int main(int argc, char** argv) {
  try {
    return quern::run(argc, argv);
  } catch (const quern::Error& error) {
    fmt::print(stderr, "quern_bench_cpu_ops: {}\n", error.what());
    return quern::exit_status(error.kind());
  }
}
