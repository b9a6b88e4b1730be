// Training and predicting from another program: train_and_predict DATA MODEL.
#include <cstdio>

#include "quern/dataset.hpp"
#include "quern/error.hpp"
#include "quern/trainer.hpp"

int main(int argc, char** argv) try {
  const quern::Dataset data = quern::load_dataset(argc > 1 ? argv[1] : "mnist");
  quern::ModelSpec spec = quern::load_model_spec(argc > 2 ? argv[2] : "lenet5");
  spec.recipe.epochs = 1;
  quern::Session session(spec, {.device = "cpu"});

  const quern::DeviceImages training(session, data.train, "the training set");
  quern::Trainer trainer(session, training, {.limit_train = 6400});
  quern::TrainObserver silent;
  trainer.run(silent);

  const quern::DeviceImages test(session, data.test, "the test set");
  const quern::Evaluation result =
      quern::Evaluator(session, test, quern::first_indices(1000)).run(/*keep_logits=*/true);
  const std::vector<float> probabilities = quern::softmax(result.logits, result.classes);
  std::printf("accuracy %.3f; the first image is a %s with probability %.3f\n", result.accuracy,
              data.class_names[data.test.labels[0]].c_str(),
              static_cast<double>(probabilities[data.test.labels[0]]));
  return result.accuracy > 0.7 ? 0 : 1;
} catch (const quern::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return quern::exit_status(error.kind());
}
