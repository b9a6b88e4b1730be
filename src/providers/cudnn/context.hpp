#pragma once

/// What the executables of one GPU share: cuDNN's handle and the plans made so far.

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "providers/cudnn/graph_plan.hpp"

namespace quern::cudnn {

class Context {
 public:
  /// The context of the GPU with this ordinal, made on first use. It is never destroyed: when static objects
  /// are, the driver may already be gone.
  static Context& of(int device_index);

  /// The handle, its work going to `stream`.
  cudnnHandle_t on(Stream stream);
  cudnnHandle_t handle() const noexcept { return handle_; }

  struct Planned {
    std::shared_ptr<const GraphPlan> plan;  ///< null: none, and
    std::string failure;                    ///< why
  };
  /// A plan for the graph, made once for each `key`, which must tell graphs and rules apart. Asking whether
  /// cuDNN serves an operation makes the plan that then runs it.
  const Planned& plan(const std::string& key, const ConvGraph& graph, const EngineRules& rules);

 private:
  explicit Context(int device_index);

  cudnnHandle_t handle_ = nullptr;
  void* stream_ = nullptr;
  std::mutex mutex_;
  std::map<std::string, Planned> plans_;
};

}  // namespace quern::cudnn
