#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "quern/exchange.hpp"
#include "quern/session.hpp"
#include "tests/exchange/models.hpp"
#include "tests/exchange/onnx_reader.hpp"

namespace quern {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

constexpr std::int64_t kImages = 3;

Split pictures(const ModelSpec& spec) {
  Split split;
  split.count = kImages;
  split.height = spec.height;
  split.width = spec.width;
  split.channels = spec.channels;
  split.labels.assign(kImages, 0);
  for (std::int64_t i = 0; i < kImages * split.pixels_per_image(); ++i)
    split.images.push_back(static_cast<std::uint8_t>(
        philox_u32(5, RandomPurpose::test, 0, 0, static_cast<std::uint64_t>(i)) % 256));
  return split;
}

/// Quern's own logits, by the reference.
std::vector<float> own_logits(const ModelSpec& spec, const std::vector<float>& weights, const Split& split) {
  SessionOptions options;
  options.device = "cpu";
  options.threads = 1;
  options.impls = {"reference"};
  Session session(spec, options);
  session.set_weights(weights);
  const DeviceImages images(session, split, "the pictures");
  return Evaluator(session, images, first_indices(kImages)).run(/*keep_logits=*/true).logits;
}

test::OnnxTensor channels_first(const Split& split) {
  test::OnnxTensor x{{split.count, split.channels, split.height, split.width}, {}};
  const std::int64_t area = split.height * split.width;
  for (std::int64_t n = 0; n < split.count; ++n)
    for (std::int64_t c = 0; c < split.channels; ++c)
      for (std::int64_t p = 0; p < area; ++p)
        x.values.push_back(split.images[static_cast<std::size_t>((n * area + p) * split.channels + c)] /
                           255.0);
  return x;
}

test::OnnxModel expect_same_logits(const ModelSpec& spec, const std::vector<float>& weights, bool keep) {
  const Split split = pictures(spec);
  OnnxOptions options;
  options.keep_batchnorm = keep;
  const test::OnnxModel model = test::read_onnx(encode_onnx(spec, weights, options));
  const auto own = own_logits(spec, weights, split);
  const auto there = test::run_onnx(model, channels_first(split)).values;
  EXPECT_EQ(there.size(), own.size());
  for (std::size_t i = 0; i < own.size(); ++i)
    EXPECT_NEAR(there[i], static_cast<double>(own[i]), 1e-5 * (1 + std::abs(static_cast<double>(own[i]))))
        << i;
  return model;
}

TEST(Onnx, ComputesTheSameLogitsFoldedAndNot) {
  for (const char* layers :
       {test::kConvolutions, test::kResidual, test::kFlattened, test::kPools, test::kPaddedMean})
    for (const bool keep : {false, true}) {
      SCOPED_TRACE(std::string(layers) + (keep ? " kept" : " folded"));
      const ModelSpec spec = test::model(layers, R"({"shape": [8, 6, 2], "mean": 0.3, "std": 0.4})");
      expect_same_logits(spec, test::weights_for(spec), keep);
    }
}

TEST(Onnx, FoldsWhereThatChangesNothing) {
  const auto types = [](const char* layers, bool keep) {
    const ModelSpec spec = test::model(layers);
    return expect_same_logits(spec, test::weights_for(spec), keep).types();
  };
  EXPECT_THAT(types(test::kConvolutions, false), Not(Contains("BatchNormalization")));
  EXPECT_THAT(types(test::kConvolutions, true), Contains("BatchNormalization").Times(3));
  EXPECT_THAT(types(test::kPools, false), Not(Contains("BatchNormalization")));
  EXPECT_THAT(types(test::kPaddedMean, false), Contains("BatchNormalization"));
  // The norm's output is read twice, but it alone reads the convolution.
  EXPECT_THAT(types(test::kResidual, false), Not(Contains("BatchNormalization")));
}

// Before a padded convolution the border would get the shift too.
TEST(Onnx, LeavesTheNormBeforeAPaddedConvolution) {
  const auto spec = [](const char* padding) {
    return test::model(std::string(R"({"name": "bn", "op": "batchnorm"},
        {"name": "c", "op": "conv2d", "filters": 2, "kernel": 3, "padding": )") +
                       padding + R"(}, {"name": "gap", "op": "global_avgpool"},
        {"name": "logits", "op": "dense", "units": 2})");
  };
  const ModelSpec padded = spec("\"same\""), bare = spec("\"valid\"");
  EXPECT_THAT(expect_same_logits(padded, test::weights_for(padded), false).types(),
              Contains("BatchNormalization"));
  EXPECT_THAT(expect_same_logits(bare, test::weights_for(bare), false).types(),
              Not(Contains("BatchNormalization")));
}

// A falling map turns the largest value into the smallest.
TEST(Onnx, FoldsThroughMaxPoolingOnlyRisingMaps) {
  const ModelSpec spec = test::model(R"({"name": "bn", "op": "batchnorm"}, {"name": "max", "op": "maxpool2d"},
      {"name": "flat", "op": "flatten"}, {"name": "logits", "op": "dense", "units": 2})");
  std::vector<float> weights = test::weights_for(spec);
  float* gamma = weights.data() + weight_layout(spec).find("bn.gamma").offset;
  gamma[0] = 0.5f;
  gamma[1] = -0.25f;
  EXPECT_THAT(expect_same_logits(spec, weights, false).types(), Contains("BatchNormalization"));
  gamma[1] = 0.25f;
  EXPECT_THAT(expect_same_logits(spec, weights, false).types(), Not(Contains("BatchNormalization")));
}

TEST(Onnx, TransposesOnlyWhereTheOrderShows) {
  const auto types = [](const char* layers, bool keep) {
    const ModelSpec spec = test::model(layers);
    return test::read_onnx(encode_onnx(spec, test::weights_for(spec), {keep, {}})).types();
  };
  EXPECT_THAT(types(test::kConvolutions, false), Not(Contains("Transpose")));
  EXPECT_THAT(types(test::kFlattened, true), Contains("Transpose"));
}

TEST(Onnx, SaysWhatItTakes) {
  const ModelSpec spec = test::model(test::kPools, R"({"shape": [8, 6, 2], "mean": 0.25})");
  OnnxOptions options;
  options.class_names = {"a", "b \"quoted\"", "\xc3\xa9"};
  const test::OnnxModel model = test::read_onnx(encode_onnx(spec, test::weights_for(spec), options));
  EXPECT_EQ(model.input, "images");
  EXPECT_EQ(model.output, "logits");
  EXPECT_THAT(model.input_shape, testing::ElementsAre(2, 8, 6));
  EXPECT_EQ(model.ir_version, 8);
  EXPECT_EQ(model.opset, 15);
  EXPECT_THAT(model.doc, HasSubstr("[0, 1]"));
  EXPECT_THAT(model.doc, HasSubstr("0.25"));
  EXPECT_EQ(model.metadata.at("class_names"), "[\"a\",\"b \\\"quoted\\\"\",\"\xc3\xa9\"]");
  EXPECT_EQ(model.nodes.front().type, "Sub");
  const ModelSpec plain = test::model(test::kPools);
  EXPECT_THAT(test::read_onnx(encode_onnx(plain, test::weights_for(plain))).types(), Not(Contains("Sub")));
}

// Names of layers meet those of the graph's ends.
TEST(Onnx, KeepsNamesApart) {
  const ModelSpec spec = test::model(R"({"name": "images", "op": "relu"}, {"name": "logits", "op": "relu"},
      {"name": "flat", "op": "flatten"}, {"name": "out", "op": "dense", "units": 2})");
  expect_same_logits(spec, test::weights_for(spec), false);
}

}  // namespace
}  // namespace quern
