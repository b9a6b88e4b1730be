#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "quern/bench.hpp"

namespace quern {

std::string bench_json(const BenchReport& report) {
  nlohmann::json results = nlohmann::json::array();
  for (const BenchResult& result : report.results) {
    nlohmann::json row = {{"shape", result.shape},
                          {"op", to_string(result.op)},
                          {"implementation", result.implementation},
                          {"status", to_string(result.status)}};
    if (!result.reason.empty()) row["reason"] = result.reason;
    if (result.status == BenchStatus::timed) {
      row["us"] = result.seconds * 1e6;
      row["spread"] = result.spread;
      row["gflops"] = result.gflops;
      row["gigabytes"] = result.gigabytes;
      row["of_roofline"] = result.of_roofline;
      row["samples"] = result.samples;
      row["sets"] = result.sets;
      if (result.vs_library) row["vs_library"] = *result.vs_library;
    }
    results.push_back(std::move(row));
  }
  nlohmann::json json = {{"device", to_string(report.device.kind)},
                         {"device_name", report.device.name},
                         {"threads", report.device.threads},
                         {"precision", to_string(report.precision)},
                         {"shape_set", to_string(report.shapes)},
                         {"roofline", to_json(report.roofline)},
                         {"results", std::move(results)}};
  if (const auto mean = report.mean_vs_library()) json["mean_vs_library"] = *mean;
  return json.dump();
}

std::string format_bench(const BenchReport& report) {
  const bool gpu = report.device.kind == DeviceKind::cuda;
  std::string text = fmt::format("{}, {}, shapes of {}\n", report.device.name, to_string(report.precision),
                                 to_string(report.shapes));
  text += fmt::format("{:<40} {:<28} {:>10} {:>7} {:>8} {:>9} {:>9} {:>8}\n", "shape", "implementation", "us",
                      "spread", "GB/s", "Gflop/s", "roofline", gpu ? "x cudnn" : "x onednn");
  std::size_t timed = 0, failed = 0;
  for (const BenchResult& result : report.results) {
    text += fmt::format("{:<40} {:<28} ", result.shape, result.implementation);
    if (result.status == BenchStatus::timed) {
      ++timed;
      text += fmt::format("{:>10.1f} {:>5.0f} % {:>8.1f} {:>9.1f} {:>7.0f} % {:>8}\n", result.seconds * 1e6,
                          result.spread * 100, result.gigabytes, result.gflops, result.of_roofline * 100,
                          result.vs_library ? fmt::format("{:.2f}", *result.vs_library) : "-");
    } else {
      failed += result.status == BenchStatus::failed ? 1 : 0;
      text += fmt::format("{}: {}\n", to_string(result.status), result.reason);
    }
  }
  if (const auto mean = report.mean_vs_library())
    text += fmt::format("against the fastest library, geometric mean over what is none: {:.2f}x\n", *mean);
  return text + fmt::format("{} of {} timed, each verified against the reference before; {} failed\n", timed,
                            report.results.size(), failed);
}

}  // namespace quern
