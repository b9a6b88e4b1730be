// The test of the tests: every kind of wrong implementation makes the run fail, for the right reason.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "check/operands.hpp"
#include "faulty.hpp"

namespace quern::check {
namespace {

using ::testing::HasSubstr;

constexpr OpKey kConv{OpKind::conv2d, Direction::forward};
constexpr OpKey kRelu{OpKind::relu, Direction::forward};
const std::string kConvCase = "conv2d.forward/n2_h3_w3_c4_k5_r3_s1_p0_bias";
const std::string kReluCase = "relu.forward/257";

std::int64_t elements(const OpDesc& desc) {
  return desc.outputs[0].elements();
}
float* floats(void* pointer) {
  return static_cast<float*>(pointer);
}
std::byte* bytes(void* pointer) {
  return static_cast<std::byte*>(pointer);
}

void expect_failure(const CheckReport& report, CheckFailure failure, const std::string& reason) {
  ASSERT_EQ(report.results.size(), 1u);
  const CheckResult& result = report.results[0];
  EXPECT_EQ(result.status, CheckStatus::fail);
  EXPECT_EQ(result.failure, failure) << to_string(result.failure) << ": " << result.reason;
  EXPECT_THAT(result.reason, HasSubstr(reason));
  EXPECT_EQ(report.exit_status(), 1);
}

TEST(Faults, TheUnspoiledReferencePasses) {
  for (const auto& [op, name] : {std::pair{kConv, kConvCase}, {kRelu, kReluCase}}) {
    const CheckReport report = check_planted(user_implementation(op, right), name);
    ASSERT_EQ(report.results.size(), 1u);
    EXPECT_EQ(report.results[0].status, CheckStatus::pass) << report.results[0].reason;
    EXPECT_TRUE(report.results[0].exact_tier);
    EXPECT_EQ(report.exit_status(), 0);
  }
}

TEST(Faults, WrongByOneElement) {
  for (const std::int64_t where : {std::int64_t{0}, std::int64_t{4}, std::int64_t{9}}) {
    const auto body = [where](const OpDesc& desc, const RunArgs& args) {
      right(desc, args);
      floats(args.out[0])[where] += 1;
    };
    const CheckReport report = check_planted(user_implementation(kConv, body), kConvCase);
    expect_failure(report, CheckFailure::mismatch, "1 of 10 elements are wrong (exact tier)");
    ASSERT_TRUE(report.results[0].mismatch);
    EXPECT_EQ(report.results[0].mismatch->slot, "y");
    EXPECT_EQ(report.results[0].mismatch->index, where == 0   ? "[0,0,0,0]"
                                                 : where == 4 ? "[0,0,0,4]"
                                                              : "[1,0,0,4]");
    EXPECT_DOUBLE_EQ(report.results[0].mismatch->got - report.results[0].mismatch->expected, 1);
  }
}

TEST(Faults, WrongInTheLastBitOfOneElement) {
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    right(desc, args);
    float& y = floats(args.out[0])[3];
    y = std::nextafter(y, std::numeric_limits<float>::infinity());
  };
  expect_failure(check_planted(user_implementation(kConv, body), kConvCase), CheckFailure::mismatch,
                 "exact tier");
  // An algorithm that declares itself inexact is not held to the bit.
  Implementation inexact = user_implementation(kConv, body);
  inexact.exact = false;
  const CheckReport report = check_planted(inexact, kConvCase);
  ASSERT_EQ(report.results.size(), 1u);
  EXPECT_EQ(report.results[0].status, CheckStatus::pass);
  EXPECT_FALSE(report.results[0].exact_tier);
}

TEST(Faults, AnInexactAlgorithmIsStillHeldToItsTolerance) {
  Implementation inexact = user_implementation(kConv, [](const OpDesc& desc, const RunArgs& args) {
    right(desc, args);
    floats(args.out[0])[7] += 0.01f;
  });
  inexact.exact = false;
  expect_failure(check_planted(inexact, kConvCase), CheckFailure::mismatch, "(random tier)");
}

// Right on integers, wrong on fractions: operands rounded to tf32 although fp32 was asked for.
TEST(Faults, HiddenLowPrecision) {
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    std::vector<std::vector<float>> rounded;
    std::vector<void*> in(args.in.begin(), args.in.end());
    for (std::size_t i = 0; i < 2; ++i) {
      const auto n = static_cast<std::size_t>(desc.inputs[i].elements());
      rounded.emplace_back(floats(in[i]), floats(in[i]) + n);
      for (float& value : rounded[i]) {
        std::uint32_t word = 0;
        std::memcpy(&word, &value, 4);
        word &= ~0x1FFFu;
        std::memcpy(&value, &word, 4);
      }
    }
    in[0] = rounded[0].data();
    in[1] = rounded[1].data();
    right(desc, {in, args.out, args.workspace, args.stream});
  };
  const CheckReport report =
      check_planted(user_implementation(kConv, body), "conv2d.forward/n1_h14_w14_c32_k64_r3_s1_p1");
  EXPECT_GE(report.results.size(), 1u);
  for (const CheckResult& result : report.results) {
    EXPECT_EQ(result.status, CheckStatus::fail) << result.case_name;
    EXPECT_THAT(result.reason, HasSubstr("random tier"));
  }
}

TEST(Faults, WritesNan) {
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    right(desc, args);
    floats(args.out[0])[5] = std::numeric_limits<float>::quiet_NaN();
  };
  expect_failure(check_planted(user_implementation(kConv, body), kConvCase), CheckFailure::nonfinite,
                 "y[1,0,0,0]");
}

TEST(Faults, WritesInfinity) {
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    right(desc, args);
    floats(args.out[0])[0] = -std::numeric_limits<float>::infinity();
  };
  expect_failure(check_planted(user_implementation(kRelu, body), kReluCase), CheckFailure::nonfinite,
                 "got -inf");
}

TEST(Faults, WritesBeyondAnOutput) {
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    right(desc, args);
    floats(args.out[0])[elements(desc)] = 0;
  };
  expect_failure(check_planted(user_implementation(kConv, body), kConvCase), CheckFailure::overrun,
                 "y wrote 1 bytes past its end");
}

TEST(Faults, WritesFarBeyondAnOutput) {
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    right(desc, args);
    floats(args.out[0])[elements(desc) + 100] = 1;
  };
  expect_failure(check_planted(user_implementation(kRelu, body), kReluCase), CheckFailure::overrun,
                 "y wrote 401 bytes past its end");
}

TEST(Faults, WritesBeforeAnOutput) {
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    right(desc, args);
    floats(args.out[0])[-1] = 1;
  };
  expect_failure(check_planted(user_implementation(kConv, body), kConvCase), CheckFailure::overrun,
                 "bytes before its start");
}

TEST(Faults, WritesBeyondAnInput) {
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    right(desc, args);
    floats(args.in[1])[desc.inputs[1].elements()] = 1;
  };
  expect_failure(check_planted(user_implementation(kConv, body), kConvCase), CheckFailure::overrun,
                 "w wrote");
}

TEST(Faults, WritesBeyondTheWorkspace) {
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    right(desc, args);
    bytes(args.workspace)[100] = std::byte{0};
  };
  expect_failure(check_planted(user_implementation(kConv, body, 100), kConvCase), CheckFailure::overrun,
                 "workspace wrote 1 bytes past its end");
  const auto inside = [](const OpDesc& desc, const RunArgs& args) {
    right(desc, args);
    bytes(args.workspace)[99] = std::byte{0};
  };
  EXPECT_EQ(check_planted(user_implementation(kConv, inside, 100), kConvCase).exit_status(), 0);
}

TEST(Faults, ModifiesAnInput) {
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    right(desc, args);
    bytes(args.in[1])[4 * 7] ^= std::byte{1};
  };
  expect_failure(check_planted(user_implementation(kConv, body), kConvCase), CheckFailure::input_modified,
                 "w changed element 7");
}

TEST(Faults, LeavesOneElementUnwritten) {
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    std::vector<float> kept(floats(args.out[0]), floats(args.out[0]) + elements(desc));
    right(desc, args);
    floats(args.out[0])[6] = kept[6];
  };
  expect_failure(check_planted(user_implementation(kConv, body), kConvCase), CheckFailure::unwritten,
                 "y[1,0,0,1] was not written");
}

TEST(Faults, LeavesOneByteUnwritten) {
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    const std::byte kept = bytes(args.out[1])[3];
    right(desc, args);
    bytes(args.out[1])[3] = kept;
  };
  expect_failure(check_planted(user_implementation({OpKind::maxpool2d, Direction::forward}, body),
                               "maxpool2d.forward/n1_h14_w14_c64_r2_s2_p0_argmax"),
                 CheckFailure::unwritten, "argmax[0,0,0,3] was not written");
}

TEST(Faults, AccumulatesInsteadOfOverwriting) {
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    std::vector<float> before(floats(args.out[0]), floats(args.out[0]) + elements(desc));
    right(desc, args);
    for (std::size_t i = 0; i < before.size(); ++i) floats(args.out[0])[i] += before[i];
  };
  const CheckReport report = check_planted(user_implementation(kConv, body), kConvCase);
  ASSERT_EQ(report.results.size(), 1u);
  EXPECT_EQ(report.results[0].status, CheckStatus::fail);
}

TEST(Faults, IsNondeterministic) {
  // Within every tolerance, but never the same twice.
  const auto body = [runs = std::make_shared<int>(0)](const OpDesc& desc, const RunArgs& args) {
    right(desc, args);
    float& y = floats(args.out[0])[8];
    if (++*runs > 1 && std::abs(y) != std::round(std::abs(y))) y += static_cast<float>(*runs) * 1e-7f;
  };
  expect_failure(check_planted(user_implementation(kConv, body), kConvCase), CheckFailure::nondeterministic,
                 "y[1,0,0,3]");
}

TEST(Faults, KeepsStateBetweenRuns) {
  const auto body = [runs = std::make_shared<int>(0)](const OpDesc& desc, const RunArgs& args) {
    right(desc, args);
    if (++*runs == 3) floats(args.out[0])[0] = 7;
  };
  expect_failure(check_planted(user_implementation(kConv, body), kConvCase), CheckFailure::nondeterministic,
                 "7 in");
}

TEST(Faults, ReliesOnWhatTheWorkspaceHeld) {
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    right(desc, args);
    if (bytes(args.workspace)[8] == std::byte{0xA5}) return;
    floats(args.out[0])[0] += 1e-7f;
  };
  const CheckReport report = check_planted(user_implementation(kConv, body, 64), kConvCase);
  ASSERT_EQ(report.results.size(), 1u);
  EXPECT_EQ(report.results[0].failure, CheckFailure::nondeterministic) << report.results[0].reason;
}

TEST(Faults, CannotRunInPlace) {
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    for (std::int64_t i = 0; i < elements(desc); ++i) floats(args.out[0])[i] = 0;
    for (std::int64_t i = 0; i < elements(desc); ++i)
      floats(args.out[0])[i] = std::max(floats(args.in[0])[i], 0.0f);
  };
  expect_failure(check_planted(user_implementation(kRelu, body), kReluCase), CheckFailure::in_place,
                 "written over x");
}

TEST(Faults, AddMustBearEitherOperandBelowItsResult) {
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    // a first, then b: right unless b lies below y.
    const float relu = desc.as<AddAttrs>().relu ? 0.0f : -1e30f;
    std::memcpy(args.out[0], args.in[0], desc.outputs[0].bytes());
    for (std::int64_t i = 0; i < elements(desc); ++i)
      floats(args.out[0])[i] = std::max(floats(args.out[0])[i] + floats(args.in[1])[i], relu);
  };
  const Implementation planted =
      user_implementation({OpKind::add, Direction::forward}, [body](const auto& d, const auto& a) {
        if (a.out[0] == a.in[0])
          right(d, a);
        else
          body(d, a);
      });
  expect_failure(check_planted(planted, "add.forward/1025_relu"), CheckFailure::in_place, "written over b");
}

TEST(Faults, Throws) {
  const auto body = [](const OpDesc&, const RunArgs&) { throw std::runtime_error("launch failed"); };
  expect_failure(check_planted(user_implementation(kConv, body), kConvCase), CheckFailure::error,
                 "launch failed");
  Implementation planted = user_implementation(kConv, right);
  planted.prepare = [](const OpDesc&, Device&) -> std::unique_ptr<Executable> { throw 42; };
  EXPECT_ANY_THROW(check_planted(planted, kConvCase));
  planted.prepare = [](const OpDesc&, Device&) -> std::unique_ptr<Executable> { throw std::bad_alloc(); };
  expect_failure(check_planted(planted, kConvCase), CheckFailure::error, "bad_alloc");
  planted.prepare = [](const OpDesc&, Device&) { return std::unique_ptr<Executable>(); };
  expect_failure(check_planted(planted, kConvCase), CheckFailure::error, "nothing");
}

TEST(Faults, ARefusalIsUnsupportedAndVerifiesNothing) {
  Implementation planted = user_implementation(kConv, right);
  planted.refusal = [](const OpDesc&, const DeviceInfo&) { return Refusal("needs a full moon"); };
  const CheckReport report = check_planted(planted, kConvCase);
  ASSERT_EQ(report.results.size(), 1u);
  EXPECT_EQ(report.results[0].status, CheckStatus::unsupported);
  EXPECT_EQ(report.results[0].reason, "needs a full moon");
  EXPECT_EQ(report.count(CheckStatus::pass), 0u);
  EXPECT_EQ(report.exit_status(), 1);  // nothing was verified
}

TEST(Faults, AnAbsentDeviceIsNotRun) {
  Registry registry;
  add_reference(registry);
  Implementation planted = user_implementation(kConv, right);
  planted.device = DeviceKind::cuda;
  registry.add(planted);
  CheckOptions options;
  options.device = "cuda:1000";
  options.op = "conv2d.forward";
  const CheckReport report = run_checks(registry, options);
  EXPECT_TRUE(report.device_absent);
  EXPECT_FALSE(report.absence.empty());
  EXPECT_EQ(report.results.size(), report.cases);
  EXPECT_EQ(report.count(CheckStatus::not_run), report.cases);
  EXPECT_EQ(report.count(CheckStatus::pass), 0u);
  EXPECT_EQ(report.exit_status(), 3);
  EXPECT_THAT(format_report(report), HasSubstr("\nNOT_RUN: "));
}

TEST(Faults, WithoutAReferenceNothingPasses) {
  Registry registry;
  registry.add(user_implementation(kConv, right));
  CheckOptions options;
  options.case_filter = kConvCase;
  options.required = std::vector<Provider>{};
  const CheckReport report = run_checks(registry, options);
  ASSERT_EQ(report.results.size(), 1u);
  EXPECT_EQ(report.results[0].failure, CheckFailure::no_oracle);
  EXPECT_EQ(report.exit_status(), 1);
}

}  // namespace
}  // namespace quern::check
