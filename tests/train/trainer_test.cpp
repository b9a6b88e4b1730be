#include "quern/trainer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "quern/error.hpp"
#include "tests/train/small_world.hpp"

namespace quern {
namespace {

using namespace test;
using testing::HasSubstr;

template <class Function>
std::string error_of(Function function, ErrorKind kind) {
  try {
    function();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

TEST(Trainer, LearnsASmallSet) {
  const Split train = small_images(256), test = small_images(128, 8);
  SmallRun run(small_model(R"({"epochs": 6, "batch_size": 16, "learning_rate": 0.01})"), train);
  Recorder recorder;
  EXPECT_EQ(run.train(recorder), StopReason::finished);
  ASSERT_EQ(recorder.epochs.size(), 6u);
  EXPECT_LT(recorder.epochs.back().train_loss, recorder.epochs.front().train_loss);
  const DeviceImages test_images(run.session, test, "the test set");
  const Evaluation evaluation = Evaluator(run.session, test_images, first_indices(test.count)).run();
  EXPECT_EQ(evaluation.count, 128);
  EXPECT_GT(evaluation.accuracy, 0.95);
}

TEST(Trainer, CountsEpochsStepsAndImages) {
  const Split data = small_images(50);
  SmallRun run(small_model(R"({"epochs": 3, "batch_size": 16})"), data);
  EXPECT_EQ(run.trainer.steps_per_epoch(), 4);
  Recorder recorder;
  run.train(recorder);
  ASSERT_EQ(recorder.epochs.size(), 3u);
  EXPECT_EQ(recorder.epochs[2].epoch, 3);
  EXPECT_EQ(recorder.epochs[2].step, 12);
  EXPECT_FALSE(recorder.epochs[2].validation_loss.has_value());
  const TrainTimes times = run.trainer.times();
  EXPECT_EQ(times.steps, 12);
  EXPECT_EQ(times.images, 150);
  EXPECT_GT(times.ms_per_step_median, 0);
}

TEST(Trainer, SameSeedSameBitsOtherSeedOtherBits) {
  const Split data = small_images(100);
  const auto hash = [&](std::uint64_t seed) {
    RunSettings settings;
    settings.seed = seed;
    SmallRun run(small_model(R"({"epochs": 2, "batch_size": 16})"), data, settings);
    run.train();
    return run.hash();
  };
  const std::string first = hash(1);
  EXPECT_EQ(first, hash(1));
  EXPECT_NE(first, hash(2));
}

TEST(Trainer, FastProviderAgreesWithTheReferenceOverTenSteps) {
  const Split data = small_images(80);
  const auto weights = [&](const std::vector<std::string>& impls, double& loss) {
    SmallRun run(
        small_model(R"({"epochs": 1, "batch_size": 8, "optimizer": "momentum", "learning_rate": 0.05})"),
        data, {}, cpu(impls));
    Recorder recorder;
    run.train(recorder);
    loss = recorder.epochs.at(0).train_loss;
    EXPECT_EQ(run.trainer.state().step, 10);
    return run.session.weights();
  };
  double loss = 0, reference_loss = 0;
  const auto fast = weights({}, loss), reference = weights({"reference"}, reference_loss);
  EXPECT_NEAR(loss, reference_loss, 1e-5 * reference_loss);
  ASSERT_EQ(fast.size(), reference.size());
  for (std::size_t i = 0; i < fast.size(); ++i) EXPECT_NEAR(fast[i], reference[i], 2e-5) << "weight " << i;
}

TEST(Trainer, FusedAndUnfusedAgree) {
  const Split data = small_images(80);
  const auto weights = [&](bool fuse) {
    SessionOptions options = cpu();
    options.fuse = fuse;
    SmallRun run(
        small_model(R"({"epochs": 1, "batch_size": 8, "optimizer": "momentum", "learning_rate": 0.05})"),
        data, {}, options);
    run.train();
    return run.session.weights();
  };
  const auto fused = weights(true), plain = weights(false);
  for (std::size_t i = 0; i < fused.size(); ++i) EXPECT_NEAR(fused[i], plain[i], 2e-5) << "weight " << i;
}

// Where all images are one, a batch's mean gradient does not depend on its size: a last batch of 2 that was
// scaled as if it had 4 images would move the weights half as far.
TEST(Trainer, LastBatchWeighsItsOwnSize) {
  Split data = small_images(8);
  for (std::int64_t i = 1; i < data.count; ++i) {
    std::copy_n(data.images.begin(), 64, data.images.begin() + i * 64);
    data.labels[static_cast<std::size_t>(i)] = data.labels[0];
  }
  const auto weights = [&](std::int64_t images) {
    RunSettings settings;
    settings.limit_train = images;
    SmallRun run(linear_model(R"({"epochs": 1, "batch_size": 4, "optimizer": "sgd", "learning_rate": 0.5})"),
                 data, settings);
    EXPECT_EQ(run.trainer.steps_per_epoch(), 2);
    Recorder recorder;
    run.train(recorder);
    EXPECT_EQ(run.trainer.times().images, images);
    return run.session.weights();
  };
  const auto full = weights(8), ragged = weights(6);
  for (std::size_t i = 0; i < full.size(); ++i) EXPECT_NEAR(full[i], ragged[i], 1e-5) << "weight " << i;
}

TEST(Trainer, HeldOutImagesNeverTrain) {
  Split data = small_images(100);
  const Partition partition = split_train_validation(100, 20, 3);
  RunSettings settings;
  settings.seed = 3;
  settings.validation = 20;
  const auto train = [&] {
    SmallRun run(small_model(R"({"epochs": 2, "batch_size": 16})"), data, settings);
    EXPECT_EQ(run.trainer.training_images(), 80);
    EXPECT_EQ(run.trainer.validation_images(), 20);
    Recorder recorder;
    run.train(recorder);
    return std::pair(run.hash(), recorder.epochs.back().validation_loss.value());
  };
  const auto [clean, clean_loss] = train();
  const auto spoil = [&](std::uint32_t image) {
    for (std::size_t pixel = 0; pixel < 64; ++pixel) data.images[image * 64 + pixel] ^= 0xFF;
  };
  for (const std::uint32_t image : partition.validation) spoil(image);
  const auto [spoiled, spoiled_loss] = train();
  EXPECT_EQ(spoiled, clean);
  EXPECT_NE(spoiled_loss, clean_loss);
  spoil(partition.train[0]);
  EXPECT_NE(train().first, clean);  // the test of the test
}

TEST(Trainer, LimitTakesTheFirstTrainingImages) {
  Split data = small_images(100);
  RunSettings settings;
  settings.limit_train = 32;
  const auto hash = [&] {
    SmallRun run(small_model(R"({"epochs": 1, "batch_size": 16})"), data, settings);
    run.train();
    return run.hash();
  };
  const std::string clean = hash();
  data.images[32 * 64] ^= 0xFF;
  EXPECT_EQ(hash(), clean);
  data.images[31 * 64] ^= 0xFF;
  EXPECT_NE(hash(), clean);
}

TEST(Trainer, EveryEpochHasItsOwnOrderAndUsesEveryImageOnce) {
  // With a rate of 0 nothing moves, and the loss over an epoch is the mean over the set, whatever the order.
  const Split data = small_images(50);
  SmallRun run(linear_model(R"({"epochs": 3, "batch_size": 8, "learning_rate": 0})"), data);
  Recorder recorder;
  run.train(recorder);
  const Evaluation evaluation = Evaluator(run.session, run.images, first_indices(50)).run();
  for (const EpochResult& epoch : recorder.epochs) {
    EXPECT_NEAR(epoch.train_loss, evaluation.loss, 1e-6);
    EXPECT_DOUBLE_EQ(epoch.train_accuracy, evaluation.accuracy);
  }
}

TEST(Trainer, StepScheduleFreezesTheWeightsWhenItsFactorIsZero) {
  const Split data = small_images(64);
  const auto after = [&](int epochs) {
    SmallRun run(linear_model(fmt::format(
                     R"({{"epochs": {}, "batch_size": 16, "optimizer": "sgd", "learning_rate": 0.1,
                                         "schedule": {{"kind": "step", "milestones": [2], "gamma": 0}}}})",
                     epochs)),
                 data);
    run.train();
    return run.hash();
  };
  EXPECT_NE(after(1), after(2));
  EXPECT_EQ(after(2), after(3));
}

TEST(Trainer, WarmUpScalesTheFirstStep) {
  const Split data = small_images(16);
  const auto first_move = [&](const char* warmup) {
    // One step an epoch: with a warm-up of 4 epochs the first step has a quarter of the rate.
    SmallRun run(
        linear_model(fmt::format(R"({{"epochs": 1, "batch_size": 16, "optimizer": "sgd", "learning_rate": 0.5,
                                         "schedule": {{"kind": "constant", "warmup_epochs": {}}}}})",
                                 warmup)),
        data);
    const auto before = run.session.weights();
    Recorder recorder;
    run.train(recorder);
    const auto after = run.session.weights();
    return std::pair(after[0] - before[0], recorder.epochs[0].learning_rate);
  };
  const auto [full, full_rate] = first_move("0");
  const auto [warm, warm_rate] = first_move("4");
  EXPECT_NE(full, 0);
  EXPECT_NEAR(warm, full / 4, 1e-6);
  EXPECT_DOUBLE_EQ(full_rate, 0.5);
  EXPECT_DOUBLE_EQ(warm_rate, 0.125);
}

TEST(Trainer, CosineReachesItsEnd) {
  const Split data = small_images(32);
  SmallRun run(
      linear_model(R"({"epochs": 4, "batch_size": 8, "learning_rate": 0.1, "schedule": {"kind": "cosine"}})"),
      data);
  Recorder recorder;
  run.train(recorder);
  const Recipe& recipe = run.session.spec().recipe;
  for (std::size_t epoch = 0; epoch < 4; ++epoch)
    EXPECT_EQ(static_cast<float>(recorder.epochs[epoch].learning_rate),
              static_cast<float>(learning_rate_at(recipe, static_cast<long>(epoch) * 4 + 3, 16, 4)));
  EXPECT_LT(recorder.epochs[3].learning_rate, 0.002);
}

// Adam's first step moves every weight by the learning rate, up to epsilon: true only with the right bias
// corrections.
TEST(Trainer, AdamsFirstStepIsBiasCorrected) {
  const Split data = small_images(16);
  SmallRun run(linear_model(R"({"epochs": 1, "batch_size": 16, "learning_rate": 0.01, "epsilon": 1e-12})"),
               data);
  const auto before = run.session.weights();
  run.train();
  const auto after = run.session.weights();
  const WeightTensor& tensor = run.session.layout().find("logits.weight");
  for (std::int64_t i = 0; i < tensor.shape.elements(); ++i) {
    const auto at = static_cast<std::size_t>(tensor.offset + i);
    EXPECT_NEAR(std::abs(after[at] - before[at]), 0.01f, 1e-4f) << i;
  }
}

TEST(Trainer, EarlyStopWaitsForItsPatience) {
  const Split data = small_images(64);
  RunSettings settings;
  settings.validation = 16;
  settings.early_stop = 2;
  // A rate of 0: the validation loss of the first epoch is never beaten.
  SmallRun run(linear_model(R"({"epochs": 9, "batch_size": 16, "learning_rate": 0})"), data, settings);
  Recorder recorder;
  EXPECT_EQ(run.train(recorder), StopReason::stopped_early);
  EXPECT_EQ(recorder.epochs.size(), 3u);
  EXPECT_TRUE(recorder.epochs[0].best);
  EXPECT_FALSE(recorder.epochs[2].best);
  EXPECT_EQ(run.trainer.state().best_epoch, 1);
  EXPECT_EQ(run.train(recorder), StopReason::stopped_early);  // it stays stopped
  EXPECT_EQ(recorder.epochs.size(), 3u);
}

TEST(Trainer, KeepsTheWeightsOfTheBestEpoch) {
  const Split data = small_images(96);
  RunSettings settings;
  settings.validation = 32;
  // Far too high a rate: the epochs' accuracies jump about.
  SmallRun run(small_model(R"({"epochs": 6, "batch_size": 16, "optimizer": "sgd", "learning_rate": 2})"),
               data, settings);
  std::vector<std::vector<float>> weights;
  struct Keeper : Recorder {
    Keeper(Session& session, std::vector<std::vector<float>>& kept) : session_(session), kept_(kept) {}
    void on_epoch(const EpochResult& result) override {
      Recorder::on_epoch(result);
      kept_.push_back(session_.weights());
    }
    Session& session_;
    std::vector<std::vector<float>>& kept_;
  } keeper(run.session, weights);
  run.train(keeper);
  std::size_t best = 0;
  for (std::size_t i = 1; i < keeper.epochs.size(); ++i)
    if (*keeper.epochs[i].validation_accuracy > *keeper.epochs[best].validation_accuracy) best = i;
  EXPECT_EQ(run.trainer.state().best_epoch, static_cast<std::int64_t>(best) + 1);
  EXPECT_EQ(run.trainer.best_weights(), weights[best]);
  EXPECT_TRUE(keeper.epochs[best].best);
}

TEST(Trainer, AverageIsWhatEvaluationUses) {
  const Split data = small_images(64);
  SmallRun run(small_model(R"({"epochs": 2, "batch_size": 16, "learning_rate": 0.01, "ema_decay": 0.9})"),
               data);
  EXPECT_EQ(run.session.average(), run.session.weights());  // both start at the initial weights
  run.train();
  const auto average = run.session.average();
  EXPECT_NE(average, run.session.weights());
  const Evaluation with_average = Evaluator(run.session, run.images, first_indices(64)).run();
  Session plain(small_model(), cpu());
  plain.set_weights(average);
  const DeviceImages images(plain, data, "the training set");
  EXPECT_DOUBLE_EQ(with_average.loss, Evaluator(plain, images, first_indices(64)).run().loss);
}

TEST(Trainer, EveryOptimizerTrains) {
  const Split data = small_images(128);
  for (const char* optimizer : {"sgd", "momentum", "nesterov", "adam", "adamw"}) {
    SmallRun run(
        small_model(fmt::format(R"({{"epochs": 3, "batch_size": 16, "optimizer": "{}", "learning_rate": 0.02,
                                        "weight_decay": 0.001, "clip_norm": 5, "label_smoothing": 0.05}})",
                                optimizer)),
        data);
    Recorder recorder;
    run.train(recorder);
    EXPECT_LT(recorder.epochs[2].train_loss, recorder.epochs[0].train_loss) << optimizer;
  }
}

TEST(Trainer, LossThatIsNotFiniteStopsTheRun) {
  const Split data = small_images(64);
  SmallRun run(linear_model(R"({"epochs": 9, "batch_size": 16, "optimizer": "sgd", "learning_rate": 1e6})"),
               data);
  auto weights = run.session.weights();
  weights[0] = std::numeric_limits<float>::quiet_NaN();
  run.session.set_weights(weights);
  const std::string message = error_of([&] { run.train(); }, ErrorKind::check);
  EXPECT_THAT(message, HasSubstr("epoch 1, step 1: the loss is not finite"));
}

TEST(Trainer, WeightsThatAreNotFiniteAreNotSaved) {
  const Split data = small_images(64);
  SmallRun run(linear_model(R"({"epochs": 1, "batch_size": 16})"), data);
  auto weights = run.session.weights();
  weights[3] = std::numeric_limits<float>::infinity();
  run.session.set_weights(weights);
  EXPECT_THAT(error_of([&] { run.trainer.checkpoint(); }, ErrorKind::check),
              HasSubstr("weights are not finite"));
}

TEST(Trainer, RefusesWhatCannotBeTrained) {
  const Split data = small_images(40);
  const auto error = [&](const char* recipe, RunSettings settings) {
    return error_of([&] { SmallRun run(small_model(recipe), data, settings); }, ErrorKind::input);
  };
  EXPECT_THAT(error(R"({"batch_size": 41})", {}), HasSubstr("batch size 41 is above the 40 training images"));
  RunSettings settings;
  settings.validation = 40;
  EXPECT_THAT(error("{}", settings), HasSubstr("--validation 40"));
  settings.validation = 30;
  EXPECT_THAT(error(R"({"batch_size": 11})", settings), HasSubstr("above the 10 training images"));
  settings = {};
  settings.early_stop = 2;
  EXPECT_THAT(error(R"({"batch_size": 8})", settings), HasSubstr("--validation"));
}

TEST(Session, RefusesImagesThatDoNotFitTheModel) {
  Session session(small_model(), cpu());
  Split data = small_images(8);
  data.labels[5] = 4;
  EXPECT_THAT(error_of([&] { session.check_images(data, "the test set"); }, ErrorKind::input),
              HasSubstr("the test set: image 5 has label 4, but model 'small' has 4 classes"));
  data = small_images(8);
  data.height = 4;
  data.count = 16;
  EXPECT_THAT(error_of([&] { session.check_images(data, "the test set"); }, ErrorKind::input),
              HasSubstr("4x8x1, model 'small' takes 8x8x1"));
}

TEST(Session, RefusesAPrecisionTheCpuLacks) {
  SessionOptions options = cpu();
  options.precision = Precision::bf16;
  EXPECT_THAT(error_of([&] { Session session(small_model(), options); }, ErrorKind::input),
              HasSubstr("bf16"));
}

TEST(Session, TakesTheDevicesPrecisionUnlessToldOtherwise) {
  DeviceInfo device;
  EXPECT_EQ(default_precision(device), Precision::fp32);
  device.kind = DeviceKind::emu;
  device.sm = 90;
  EXPECT_EQ(default_precision(device), Precision::fp32);
  device.kind = DeviceKind::cuda;
  EXPECT_EQ(default_precision(device), Precision::tf32);
  device.sm = 75;
  EXPECT_EQ(default_precision(device), Precision::fp32);

  SmallRun plain(small_model(), small_images(64));
  EXPECT_EQ(plain.session.precision(), Precision::fp32);
  EXPECT_EQ(plain.trainer.settings().precision, "fp32");
  SessionOptions options = cpu();
  options.device = "emu";
  options.precision = Precision::bf16;
  SmallRun half(small_model(), small_images(64), {}, options);
  EXPECT_EQ(half.session.precision(), Precision::bf16);
  EXPECT_EQ(half.trainer.settings().precision, "bf16");
}

// Where the last layer keeps its input's type, the logits are bf16.
TEST(Evaluator, WidensLogitsOfBf16) {
  const ModelSpec spec = parse_model_spec(R"({"name": "rectified", "input": {"shape": [8, 8, 1]}, "layers": [
      {"name": "flatten", "op": "flatten"}, {"name": "dense", "op": "dense", "units": 4},
      {"name": "relu", "op": "relu"}]})",
                                          "rectified");
  const Split data = small_images(5);
  std::vector<float> logits[2];
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    SessionOptions options = cpu();
    options.device = "emu";
    options.precision = precision;
    options.fuse = false;
    Session session(spec, options);
    session.initialize(5);
    const DeviceImages images(session, data, "the test set");
    logits[precision == Precision::bf16] = Evaluator(session, images, first_indices(5)).run(true).logits;
  }
  ASSERT_EQ(logits[1].size(), 20u);
  for (std::size_t i = 0; i < 20; ++i) EXPECT_NEAR(logits[1][i], logits[0][i], 0.02) << i;
  EXPECT_NE(logits[1], logits[0]);
}

TEST(Evaluator, DoesNotDependOnTheBatch) {
  const Split data = small_images(53);
  Session session(small_model(), cpu());
  session.initialize(5);
  const DeviceImages images(session, data, "the test set");
  const Evaluation whole = Evaluator(session, images, first_indices(53), 53).run(/*keep_logits=*/true);
  for (const std::int64_t batch : {1, 7, 52, 1000}) {
    const Evaluation parts = Evaluator(session, images, first_indices(53), batch).run(/*keep_logits=*/true);
    EXPECT_EQ(parts.count, 53);
    EXPECT_EQ(parts.correct, whole.correct);
    EXPECT_NEAR(parts.loss, whole.loss, 1e-6);
    ASSERT_EQ(parts.logits.size(), 53u * 4);
    for (std::size_t i = 0; i < parts.logits.size(); ++i) EXPECT_NEAR(parts.logits[i], whole.logits[i], 1e-5);
  }
}

TEST(Evaluator, EvaluatesTheImagesItWasGiven) {
  const Split data = small_images(20);
  Session session(small_model(), cpu());
  session.initialize(5);
  const DeviceImages images(session, data, "the test set");
  const Evaluation all = Evaluator(session, images, first_indices(20)).run(/*keep_logits=*/true);
  const std::vector<std::uint32_t> chosen{13, 2, 19};
  const Evaluation some = Evaluator(session, images, chosen, 2).run(/*keep_logits=*/true);
  for (std::size_t row = 0; row < chosen.size(); ++row)
    for (std::size_t i = 0; i < 4; ++i)
      EXPECT_NEAR(some.logits[row * 4 + i], all.logits[chosen[row] * 4 + i], 1e-5);
}

TEST(Softmax, SumsToOneAndSurvivesLargeLogits) {
  const std::vector<float> logits{1000, 999, 0, 0, 0, 0};
  const auto probabilities = softmax(logits, 3);
  EXPECT_NEAR(probabilities[0], 1 / (1 + std::exp(-1.0)), 1e-6);
  EXPECT_NEAR(probabilities[3], 1.0 / 3, 1e-6);
}

}  // namespace
}  // namespace quern
