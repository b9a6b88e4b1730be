#include "cli/first_steps.hpp"

#include "quern/error.hpp"
#include "quern/trainer.hpp"

namespace quern::cli {
namespace {

class StopAfter final : public TrainObserver {
 public:
  explicit StopAfter(std::int64_t steps) : left_(steps) {}
  bool stop_requested() override { return left_-- == 0; }

 private:
  std::int64_t left_;
};

nlohmann::json weights_json(Session& session) {
  const std::vector<float> weights = session.weights();
  nlohmann::json json;
  for (const WeightTensor& tensor : session.layout().tensors) {
    const auto first = weights.begin() + tensor.offset;
    std::vector<std::int64_t> shape;
    for (int axis = 0; axis < tensor.shape.rank(); ++axis) shape.push_back(tensor.shape[axis]);
    json[tensor.name] = {{"shape", shape},
                         {"values", std::vector<float>(first, first + tensor.shape.elements())}};
  }
  return json;
}

}  // namespace

nlohmann::json first_steps(Session& session, const Dataset& data, std::int64_t count, std::uint64_t seed) {
  const Recipe& recipe = session.spec().recipe;
  const std::int64_t batch = recipe.batch_size;
  if (count < 1 || count * batch > data.train.count)
    fail_input("--steps {}: {} images in batches of {} make 1 to {} steps", count, data.train.count, batch,
               data.train.count / batch);
  const DeviceImages images(session, data.train, "the training set");
  RunSettings settings;
  settings.seed = seed;
  Trainer trainer(session, images, settings);
  nlohmann::json json = {{"model", session.spec().name},
                         {"batch_size", batch},
                         {"seed", seed},
                         {"learning_rate", recipe.learning_rate},
                         {"weights", weights_json(session)}};
  std::vector<std::uint32_t> order =
      shuffled_order(split_train_validation(data.train.count, 0, seed).train, seed, 0);
  order.resize(static_cast<std::size_t>(count * batch));
  json["order"] = order;
  json["losses"] = nlohmann::json::array();
  double before = 0;
  trainer.watch(1, [&](Executor& executor, std::int64_t) {
    executor.run();
    Metrics sums;
    session.download(&sums, executor.address(executor.plan().graph.find(names::kMetrics)), sizeof sums);
    json["losses"].push_back((sums.loss_sum - before) / static_cast<double>(batch));
    before = sums.loss_sum;
  });
  StopAfter stop(count);
  trainer.run(stop);
  return json;
}

}  // namespace quern::cli
