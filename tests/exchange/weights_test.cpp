#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "quern/exchange.hpp"
#include "quern/safetensors.hpp"
#include "tests/exchange/models.hpp"
#include "tests/io/temporary_folder.hpp"

namespace quern {
namespace {

std::vector<float> floats(const StoredTensor& tensor) {
  std::vector<float> values(tensor.bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

class ForeignWeights : public testing::Test {
 protected:
  SafetensorsFile exported(const ModelSpec& spec, const std::vector<float>& weights, WeightHome home) {
    export_weights(path_, spec, weights, home);
    return SafetensorsFile::load(path_);
  }
  test::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_ / "weights.safetensors";
};

TEST_F(ForeignWeights, ComeBackBitForBitFromEveryHome) {
  for (const char* layers : {test::kConvolutions, test::kResidual, test::kPools}) {
    const ModelSpec spec = test::model(layers);
    const std::vector<float> weights = test::weights_for(spec);
    for (const WeightHome home : {WeightHome::torch, WeightHome::keras}) {
      export_weights(path_, spec, weights, home);
      EXPECT_EQ(import_weights(path_, spec), weights) << to_string(home);
      EXPECT_EQ(import_weights(path_, spec, {home, {}}), weights) << to_string(home);
    }
  }
}

// A conv filter of ours is [k][r][s][c]; element (k, c, r, s) there is (k, r, s, c) here.
TEST_F(ForeignWeights, HaveTheNamesAndLayoutsOfTheirHome) {
  const ModelSpec spec = test::model(test::kConvolutions);
  const WeightLayout layout = weight_layout(spec);
  const std::vector<float> weights = test::weights_for(spec);
  const auto own = [&](const char* name, std::int64_t index) {
    return weights[static_cast<std::size_t>(layout.find(name).offset + index)];
  };
  {
    const SafetensorsFile file = exported(spec, weights, WeightHome::torch);
    EXPECT_EQ(file.metadata().at("format"), "pt");
    EXPECT_THAT(file.at("b.weight").shape, testing::ElementsAre(4, 3, 2, 2));
    EXPECT_EQ(floats(file.at("b.weight"))[((1 * 3 + 2) * 2 + 0) * 2 + 1],
              own("b.weight", ((1 * 2 + 0) * 2 + 1) * 3 + 2));
    for (const char* name : {"a_bn.weight", "a_bn.bias", "a_bn.running_mean", "a_bn.running_var"})
      EXPECT_THAT(file.at(name).shape, testing::ElementsAre(6));
    // The picture is 5x2x4 (h, w, c): our column (h * 2 + w) * 4 + c is theirs (c * 5 + h) * 2 + w.
    const auto dense = floats(file.at("hidden.weight"));
    ASSERT_EQ(layout.find("hidden.weight").shape[1], 5 * 2 * 4);
    EXPECT_EQ(dense[3 * 40 + (2 * 5 + 3) * 2 + 1], own("hidden.weight", 3 * 40 + (3 * 2 + 1) * 4 + 2));
    EXPECT_EQ(floats(file.at("out.weight"))[7], own("out.weight", 7));
  }
  const SafetensorsFile file = exported(spec, weights, WeightHome::keras);
  EXPECT_THAT(file.at("b/kernel").shape, testing::ElementsAre(2, 2, 3, 4));
  EXPECT_EQ(floats(file.at("b/kernel"))[((0 * 2 + 1) * 3 + 2) * 4 + 1],
            own("b.weight", ((1 * 2 + 0) * 2 + 1) * 3 + 2));
  EXPECT_THAT(file.at("out/kernel").shape, testing::ElementsAre(5, 3));
  EXPECT_EQ(floats(file.at("out/kernel"))[4 * 3 + 1], own("out.weight", 1 * 5 + 4));
  for (const char* name : {"a_bn/gamma", "a_bn/beta", "a_bn/moving_mean", "a_bn/moving_variance"})
    EXPECT_THAT(file.at(name).shape, testing::ElementsAre(6));
}

TEST_F(ForeignWeights, RefuseWhatTorchWouldMixUp) {
  const ModelSpec mixed = test::model(
      R"({"name": "flat", "op": "flatten"}, {"name": "same", "op": "dense", "units": 96},
         {"name": "sum", "op": "add", "inputs": ["same", "flat"]}, {"name": "out", "op": "dense", "units": 3})");
  const std::vector<float> weights = test::weights_for(mixed);
  test::expect_error(ErrorKind::input, {"'sum'", "Keras"},
                     [&] { export_weights(path_, mixed, weights, WeightHome::torch); });
  export_weights(path_, mixed, weights, WeightHome::keras);
  EXPECT_EQ(import_weights(path_, mixed), weights);
  const ModelSpec bare = test::model(R"({"name": "flat", "op": "flatten"})");
  test::expect_error(ErrorKind::input, {"logits"},
                     [&] { export_weights(path_, bare, {}, WeightHome::torch); });
  // A sum of two vectors in one order is no trouble.
  const ModelSpec good = test::model(test::kFlattened);
  export_weights(path_, good, test::weights_for(good), WeightHome::torch);
  EXPECT_EQ(import_weights(path_, good), test::weights_for(good));
}

class ImportedWeights : public ForeignWeights {
 protected:
  void write(std::vector<TensorToStore> tensors) { write_safetensors(path_, tensors); }
  template <class T>
  TensorToStore tensor(const char* name, StoredType type, std::vector<std::int64_t> shape,
                       const std::vector<T>& values) {
    return {name, type, std::move(shape), std::as_bytes(std::span(values))};
  }
  const ModelSpec spec_ = parse_model_spec(
      R"({"name": "line", "input": {"shape": [1, 2, 1]}, "layers": [{"name": "flat", "op": "flatten"},
          {"name": "logits", "op": "dense", "units": 2}], "recipe": {}})",
      "line");
  const std::vector<float> weight_{1, 2, 3, 4}, bias_{5, 6};
};

TEST_F(ImportedWeights, AreReadInEveryFloatType) {
  const std::vector<double> doubles{1, -2.5, 0.125, 65504};
  const std::vector<std::uint16_t> halves{0x3C00, 0xC100, 0x3000, 0x7BFF},
      brains{0x3F80, 0xC020, 0x3E00, 0x0000};
  write({tensor("logits.weight", StoredType::f16, {2, 2}, halves),
         tensor("logits.bias", StoredType::f32, {2}, bias_)});
  const std::vector<float> half = import_weights(path_, spec_);
  EXPECT_THAT(std::vector<float>(half.begin(), half.begin() + 4),
              testing::ElementsAre(1, -2.5, 0.125, 65504));
  write({tensor("logits.weight", StoredType::f64, {2, 2}, doubles),
         tensor("logits.bias", StoredType::f32, {2}, bias_)});
  EXPECT_EQ(import_weights(path_, spec_), half);
  write({tensor("logits.weight", StoredType::bf16, {2, 2}, brains),
         tensor("logits.bias", StoredType::f32, {2}, bias_)});
  const std::vector<float> brain = import_weights(path_, spec_);
  EXPECT_THAT(std::vector<float>(brain.begin(), brain.begin() + 4), testing::ElementsAre(1, -2.5, 0.125, 0));
  // The smallest subnormal half.
  const std::vector<std::uint16_t> tiny{0x0001, 0x8001, 0x0000, 0x0400};
  write({tensor("logits.weight", StoredType::f16, {2, 2}, tiny),
         tensor("logits.bias", StoredType::f32, {2}, bias_)});
  EXPECT_EQ(import_weights(path_, spec_)[0], std::ldexp(1.0f, -24));
  EXPECT_EQ(import_weights(path_, spec_)[3], std::ldexp(1.0f, -14));
}

TEST_F(ImportedWeights, MayBeRenamed) {
  write({tensor("net.2.weight", StoredType::f32, {2, 2}, weight_),
         tensor("net.2.bias", StoredType::f32, {2}, bias_)});
  test::expect_error(ErrorKind::input, {"'logits.weight'", "'net.2.bias'", "--rename"},
                     [&] { import_weights(path_, spec_); });
  const std::vector<float> weights = import_weights(path_, spec_, {std::nullopt, {{"net.2", "logits"}}});
  EXPECT_EQ(weights[3], 4);
  // Whole parts only: "net.2" is no beginning of "net.20".
  write({tensor("net.20.weight", StoredType::f32, {2, 2}, weight_),
         tensor("net.2.bias", StoredType::f32, {2}, bias_)});
  test::expect_error(ErrorKind::input, {"'logits.weight'", "'net.20.weight'"}, [&] {
    import_weights(path_, spec_, {std::nullopt, {{"net.2", "logits"}}});
  });
}

TEST_F(ImportedWeights, RefusesWhatDoesNotFit) {
  const auto expect = [&](std::vector<TensorToStore> tensors, const std::vector<std::string>& words) {
    write(std::move(tensors));
    test::expect_error(ErrorKind::input, words, [&] { import_weights(path_, spec_); });
  };
  const std::vector<float> bad{1, std::numeric_limits<float>::quiet_NaN()};
  const std::vector<std::int32_t> whole{1, 2};
  const TensorToStore weight = tensor("logits.weight", StoredType::f32, {2, 2}, weight_),
                      bias = tensor("logits.bias", StoredType::f32, {2}, bias_);
  expect({weight}, {"'logits.bias'", "lacks"});
  expect({weight, bias, tensor("more.bias", StoredType::f32, {2}, bias_)}, {"no place", "'more.bias'"});
  expect({tensor("logits.weight", StoredType::f32, {4, 1}, weight_), bias}, {"[4x1]", "[2x2]"});
  expect({weight, tensor("logits.bias", StoredType::f32, {2}, bad)}, {"'logits.bias'", "not finite"});
  expect({weight, tensor("logits.bias", StoredType::i32, {2}, whole)}, {"I32", "F32"});
  // What PyTorch counts for itself is no fault.
  write({weight, bias, tensor("bn.num_batches_tracked", StoredType::i64, {}, std::vector<std::int64_t>{7})});
  EXPECT_EQ(import_weights(path_, spec_)[0], 1);
}

TEST_F(ImportedWeights, RefusesANegativeVariance) {
  const ModelSpec spec = test::model(test::kPools);
  std::vector<float> weights = test::weights_for(spec);
  weights[static_cast<std::size_t>(weight_layout(spec).find("bn.running_var").offset)] = -1;
  export_weights(path_, spec, weights, WeightHome::torch);
  test::expect_error(ErrorKind::input, {"'bn.running_var'", "negative"},
                     [&] { import_weights(path_, spec); });
}

}  // namespace
}  // namespace quern
