#include "quern/bench.hpp"

#include <algorithm>
#include <cmath>

#include "bench/measure.hpp"
#include "check/checker.hpp"
#include "check/select.hpp"
#include "quern/error.hpp"
#include "quern/profile.hpp"

namespace quern {

using namespace check;

namespace {

bool is_library(Provider provider) {
  return provider == Provider::onednn || provider == Provider::cudnn || provider == Provider::cublas;
}

class BenchRun {
 public:
  BenchRun(const Registry& registry, const BenchOptions& options)
      : registry_(registry),
        options_(options),
        operations_(select_operations(options.op)),
        device_(open_device(options.device, options.threads)),
        own_cpu_(device_->info().kind == DeviceKind::cpu ? nullptr : open_device("cpu")),
        oracle_(registry, own_cpu_ ? *own_cpu_ : *device_, Oracle::Threads::all),
        timeline_(make_timeline(*device_)) {
    if (options.batches.empty()) fail_input("--batch: give at least one");
    selection_.implementation = options.implementation;
    require_known_implementation(registry, device_->info().kind, selection_);
    report_.device = device_->info();
    report_.precision = options.precision;
    report_.shapes = options.shapes;
    report_.roofline = measure_roofline(*device_);
  }

  BenchReport run() {
    std::vector<BenchShape> shapes = bench_shapes(options_.shapes, options_.batches);
    std::erase_if(shapes, [&](const BenchShape& shape) {
      return std::find(operations_.begin(), operations_.end(), shape.desc.op) == operations_.end();
    });
    if (shapes.empty())
      fail_input("no shape of the set '{}' is of the operation '{}'", to_string(options_.shapes),
                 options_.op);
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      if (options_.progress) options_.progress(shapes[i].name, i, shapes.size());
      run_shape(shapes[i]);
    }
    return std::move(report_);
  }

 private:
  std::vector<const Implementation*> candidates(OpKey op) const {
    auto found = select_implementations(registry_, op, device_->info().kind, selection_);
    if (options_.implementation.empty())
      std::erase_if(found, [](const auto* i) { return i->provider == Provider::reference; });
    return found;
  }

  void run_shape(const BenchShape& shape) {
    const Case c{shape.name, shape.desc, Flavor::plain};
    CaseData data(c, options_.precision, oracle_);
    const OpDesc desc = at_precision(shape.desc, options_.precision);
    const std::size_t first = report_.results.size();
    std::vector<const Implementation*> verified;
    for (const Implementation* implementation : candidates(shape.desc.op)) {
      report_.results.push_back(verify(data, *implementation));
      verified.push_back(implementation);
    }
    if (report_.results.size() == first) return;
    const auto results = std::span(report_.results).subspan(first);
    const bool any = std::any_of(results.begin(), results.end(),
                                 [](const BenchResult& r) { return r.status == BenchStatus::timed; });
    if (any) time(desc, data, verified, results);
    compare_with_library(results);
  }

  BenchResult verify(CaseData& data, const Implementation& implementation) {
    const CheckResult checked = check_values(data, implementation, *device_);
    BenchResult result;
    result.shape = data.the_case().name;
    result.op = checked.op;
    result.implementation = checked.implementation;
    result.provider = implementation.provider;
    result.reason = checked.reason;
    result.status = checked.status == CheckStatus::pass          ? BenchStatus::timed
                    : checked.status == CheckStatus::unsupported ? BenchStatus::unsupported
                                                                 : BenchStatus::failed;
    return result;
  }

  void time(const OpDesc& desc, CaseData& data, const std::vector<const Implementation*>& implementations,
            std::span<BenchResult> results) {
    const bench::OperandSets sets(desc, stored_as(desc, data.solution(Tier::random).inputs), *device_);
    std::vector<std::unique_ptr<bench::Contender>> contenders(results.size());
    const auto guarded = [&](std::size_t i, const auto& work) {
      if (results[i].status != BenchStatus::timed) return;
      try {
        work(i);
      } catch (const std::exception& error) {
        results[i].status = BenchStatus::failed;
        results[i].reason = fmt::format("it threw: {}", error.what());
      }
    };
    for (std::size_t i = 0; i < results.size(); ++i)
      guarded(i, [&](std::size_t j) {
        contenders[j] = std::make_unique<bench::Contender>(implementations[j]->prepare(desc, *device_), sets,
                                                           *device_, *timeline_);
        contenders[j]->warm_up();
      });
    for (int round = 0; round < options_.samples; ++round)
      for (std::size_t i = 0; i < results.size(); ++i)
        guarded(i, [&](std::size_t j) { contenders[j]->sample(); });
    const OpCost least = cost(desc);
    for (std::size_t i = 0; i < results.size(); ++i) {
      BenchResult& result = results[i];
      if (result.status != BenchStatus::timed) continue;
      const std::vector<double>& samples = contenders[i]->samples();
      result.seconds = median(samples);
      result.spread = spread(samples);
      result.gflops = least.flops / result.seconds / 1e9;
      result.gigabytes = least.bytes / result.seconds / 1e9;
      result.of_roofline =
          report_.roofline.floor_seconds(desc, Roofline::Operands::in_memory) / result.seconds;
      result.samples = static_cast<int>(samples.size());
      result.sets = static_cast<int>(sets.count());
    }
  }

  static void compare_with_library(std::span<BenchResult> results) {
    double best = 0;
    for (const BenchResult& result : results)
      if (result.status == BenchStatus::timed && is_library(result.provider) &&
          (best == 0 || result.seconds < best))
        best = result.seconds;
    if (best == 0) return;
    for (BenchResult& result : results)
      if (result.status == BenchStatus::timed) result.vs_library = best / result.seconds;
  }

  const Registry& registry_;
  const BenchOptions& options_;
  std::vector<OpKey> operations_;
  std::unique_ptr<Device> device_, own_cpu_;
  Oracle oracle_;
  std::unique_ptr<Timeline> timeline_;
  CheckOptions selection_;
  BenchReport report_;
};

}  // namespace

const char* to_string(BenchStatus status) noexcept {
  switch (status) {
    case BenchStatus::timed:
      return "timed";
    case BenchStatus::unsupported:
      return "unsupported";
    case BenchStatus::failed:
      break;
  }
  return "FAILED";
}

std::optional<double> BenchReport::mean_vs_library() const {
  double logarithms = 0;
  int count = 0;
  for (const BenchResult& result : results) {
    if (!result.vs_library || is_library(result.provider)) continue;
    logarithms += std::log(*result.vs_library);
    ++count;
  }
  if (count == 0) return std::nullopt;
  return std::exp(logarithms / count);
}

int BenchReport::exit_status() const {
  const auto has = [&](BenchStatus status) {
    return std::any_of(results.begin(), results.end(),
                       [&](const BenchResult& result) { return result.status == status; });
  };
  return has(BenchStatus::timed) && !has(BenchStatus::failed) ? 0 : quern::exit_status(ErrorKind::check);
}

BenchReport run_bench(const Registry& registry, const BenchOptions& options) {
  return BenchRun(registry, options).run();
}

}  // namespace quern
