#include "quern/safetensors.hpp"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "tests/io/faulty_files.hpp"
#include "tests/io/temporary_folder.hpp"

namespace quern {
namespace {

using Fault = SafetensorsFault;
using test::expect_error;
using test::get;
using test::put;
using test::TemporaryFolder;

/// A file made by hand: the header as it stands, then so many bytes of data.
std::vector<std::byte> file_of(const std::string& header, std::size_t data_bytes) {
  std::vector<std::byte> content;
  for (int i = 0; i < 8; ++i) content.push_back(static_cast<std::byte>(header.size() >> (8 * i) & 0xFF));
  for (const char c : header) content.push_back(static_cast<std::byte>(c));
  for (std::size_t i = 0; i < data_bytes; ++i) content.push_back(static_cast<std::byte>(i));
  return content;
}

void expect_fault(Fault fault, const std::vector<std::string>& words, std::span<const std::byte> content) {
  expect_error(ErrorKind::input, words, [&] {
    try {
      SafetensorsFile::parse(content, "model.safetensors");
    } catch (const SafetensorsError& error) {
      EXPECT_EQ(error.fault(), fault) << error.what();
      EXPECT_THAT(error.what(), testing::HasSubstr("'model.safetensors'"));
      throw;
    }
  });
}

void expect_fault(Fault fault, const std::vector<std::string>& words, const std::string& header,
                  std::size_t data_bytes) {
  SCOPED_TRACE(header.substr(0, 200));
  expect_fault(fault, words, file_of(header, data_bytes));
}

TEST(Safetensors, ReadsAFileMadeByHand) {
  const auto content =
      file_of(R"({"__metadata__":{"format":"pt"},"b":{"data_offsets":[4,8],"shape":[2],"dtype":"I16"},)"
              R"("a":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},)"
              R"("none":{"dtype":"F64","shape":[3,0],"data_offsets":[4,4]},)"
              R"("scalar":{"dtype":"BOOL","shape":[],"data_offsets":[8,9]}}   )",
              9);
  const SafetensorsFile file = SafetensorsFile::parse(content, "m");
  EXPECT_EQ(file.metadata().at("format"), "pt");
  ASSERT_EQ(file.tensors().size(), 4u);
  const StoredTensor& b = file.at("b");
  EXPECT_EQ(b.dtype, StoredType::i16);
  EXPECT_THAT(b.shape, testing::ElementsAre(2));
  EXPECT_THAT(b.bytes, testing::ElementsAre(std::byte{4}, std::byte{5}, std::byte{6}, std::byte{7}));
  EXPECT_TRUE(file.at("none").bytes.empty());
  EXPECT_TRUE(file.at("scalar").shape.empty());
  EXPECT_EQ(file.at("scalar").bytes.size(), 1u);
  expect_error(ErrorKind::input, {"'m'", "no tensor 'c'", "another model"}, [&] { file.at("c"); });
}

TEST(Safetensors, ReadsEveryType) {
  for (const auto& [name, size] : std::vector<std::pair<std::string, int>>{{"BOOL", 1},
                                                                           {"U8", 1},
                                                                           {"I8", 1},
                                                                           {"F8_E4M3", 1},
                                                                           {"F8_E5M2", 1},
                                                                           {"U16", 2},
                                                                           {"I16", 2},
                                                                           {"F16", 2},
                                                                           {"BF16", 2},
                                                                           {"U32", 4},
                                                                           {"I32", 4},
                                                                           {"F32", 4},
                                                                           {"U64", 8},
                                                                           {"I64", 8},
                                                                           {"F64", 8}}) {
    const auto content = file_of(
        fmt::format(R"({{"t":{{"dtype":"{}","shape":[3,2],"data_offsets":[0,{}]}}}})", name, 6 * size),
        6 * size);
    const SafetensorsFile file = SafetensorsFile::parse(content, "m");
    EXPECT_EQ(to_string(file.at("t").dtype), name);
    EXPECT_EQ(size_of(file.at("t").dtype), size);
  }
}

TEST(Safetensors, AnEmptyFileOfNoTensorsIsValid) {
  EXPECT_TRUE(SafetensorsFile::parse(file_of("{}", 0), "m").tensors().empty());
}

TEST(Safetensors, RefusesAFileShorterThanItsParts) {
  expect_fault(Fault::too_short, {"0 bytes", "empty"}, std::vector<std::byte>{});
  expect_fault(Fault::too_short, {"7 bytes", "too few"}, std::vector<std::byte>(7));
  auto content = file_of("{}", 0);
  content[0] = std::byte{3};
  expect_fault(Fault::header_beyond_file, {"claims 3 bytes", "only 2 follow", "cut short"}, content);
  content[7] = std::byte{0x80};
  expect_fault(Fault::header_too_large, {"the limit is 67108864"}, content);
  content = file_of("{}", 0);
  content[3] = std::byte{4};  // 64 MiB and 2 bytes
  expect_fault(Fault::header_too_large, {"claims 67108866 bytes"}, content);
}

TEST(Safetensors, RefusesAHeaderThatIsNoJson) {
  const std::string tensor = R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  expect_fault(Fault::bad_json, {"does not begin with {"}, "", 0);
  expect_fault(Fault::bad_json, {"does not begin with {"}, " {}", 0);
  expect_fault(Fault::bad_json, {"does not begin with {"}, "[]", 0);
  expect_fault(Fault::bad_json, {"no valid JSON"}, tensor, 1);
  expect_fault(Fault::bad_json, {"no valid JSON", "byte 54"}, tensor + "}x", 1);
  expect_fault(Fault::bad_json, {"no valid JSON"}, tensor + "} {}", 1);
  expect_fault(Fault::bad_json, {"no valid JSON"}, std::string("{}\0 junk", 8), 0);
  expect_fault(Fault::bad_json, {"no valid JSON"}, "{\"t\xFF\":{}}", 0);  // not UTF-8
  expect_fault(Fault::bad_json, {"no valid JSON"}, "{'t':1}", 0);
  expect_fault(Fault::bad_json, {"no valid JSON"},
               R"({"t":{"dtype":"U8","shape":[1e999],"data_offsets":[0,1]}})", 1);
}

TEST(Safetensors, RefusesDuplicateKeys) {
  const std::string t = R"("t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  expect_fault(Fault::duplicate_key, {"'t' occurs twice"}, "{" + t + "," + t + "}", 1);
  expect_fault(Fault::duplicate_key, {"'t' occurs twice"}, "{" + t + R"(,"\u0074":{}})", 1);
  expect_fault(Fault::duplicate_key, {"'dtype' occurs twice"}, R"({"t":{"dtype":"U8","dtype":"U8"}})", 1);
  expect_fault(Fault::duplicate_key, {"'k' occurs twice"}, R"({"__metadata__":{"k":"1","k":"2"}})", 0);
  expect_fault(Fault::duplicate_key, {"'__metadata__' occurs twice"},
               R"({"__metadata__":{},"__metadata__":{}})", 0);
}

TEST(Safetensors, RefusesOtherStructures) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {R"({"t":1})", "'t' is a number"},
      {R"({"t":-1})", "'t' is a number"},
      {R"({"t":1.5})", "'t' is a number"},
      {R"({"t":null})", "'t' is null"},
      {R"({"t":true})", "'t' is true or false"},
      {R"({"t":"F32"})", "'t' is a string"},
      {R"({"t":[1]})", "'t' is an array"},
      {R"({"t":{}})", "has no dtype"},
      {R"({"t":{"dtype":"U8","data_offsets":[0,1]}})", "has no shape"},
      {R"({"t":{"dtype":"U8","shape":[1]}})", "has no data_offsets"},
      {R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"extra":1}})", "unknown field 'extra'"},
      {R"({"t":{"dtype":8,"shape":[1],"data_offsets":[0,1]}})", "a number in its 'dtype'"},
      {R"({"t":{"dtype":{},"shape":[1],"data_offsets":[0,1]}})", "an object in its 'dtype'"},
      {R"({"t":{"dtype":"U8","shape":"1","data_offsets":[0,1]}})", "a string in its 'shape'"},
      {R"({"t":{"dtype":"U8","shape":{},"data_offsets":[0,1]}})", "an object in its 'shape'"},
      {R"({"t":{"dtype":"U8","shape":[[1]],"data_offsets":[0,1]}})", "an array in its 'shape'"},
      {R"({"t":{"dtype":"U8","shape":["1"],"data_offsets":[0,1]}})", "a string in its 'shape'"},
      {R"({"t":{"dtype":"U8","shape":[null],"data_offsets":[0,1]}})", "null in its 'shape'"},
      {R"({"__metadata__":{"k":1}})", "metadata 'k' is a number"},
      {R"({"__metadata__":{"k":{}}})", "metadata 'k' is an object"},
      {R"({"__metadata__":["k"]})", "'__metadata__' is an array"},
  };
  for (const auto& [header, words] : cases) expect_fault(Fault::bad_structure, {words}, header, 1);
}

TEST(Safetensors, RefusesDepthBombs) {
  const std::string open(1 << 20, '[');
  expect_fault(Fault::bad_structure, {"an array in its 'shape'"},
               R"({"t":{"dtype":"U8","shape":)" + open + std::string(1 << 20, ']') + "}}", 0);
  std::string nested = "{\"a\":";
  for (int i = 0; i < 100000; ++i) nested += "{\"a\":";
  expect_fault(Fault::bad_structure, {}, nested, 0);
}

TEST(Safetensors, RefusesUnknownTypes) {
  expect_fault(Fault::unknown_dtype, {"'F128'", "tensor 't'"},
               R"({"t":{"dtype":"F128","shape":[1],"data_offsets":[0,16]}})", 16);
  expect_fault(Fault::unknown_dtype, {"'f32'"}, R"({"t":{"dtype":"f32","shape":[1],"data_offsets":[0,4]}})",
               4);
}

TEST(Safetensors, RefusesBadShapes) {
  const auto header = [](const std::string& shape) {
    return R"({"t":{"dtype":"F32","shape":[)" + shape + R"(],"data_offsets":[0,4]}})";
  };
  expect_fault(Fault::bad_shape, {"-1", "shape"}, header("-1"), 4);
  expect_fault(Fault::bad_shape, {"'1.0'", "whole number"}, header("1.0"), 4);
  expect_fault(Fault::bad_shape, {"9223372036854775808"}, header("9223372036854775808"), 4);
  expect_fault(Fault::bad_shape, {"whole number below 2^64"}, header("18446744073709551616"), 4);
  std::string ranks = "1";
  for (int i = 1; i < 33; ++i) ranks += ",1";
  expect_fault(Fault::bad_shape, {"more than 32 dimensions"}, header(ranks), 4);
  expect_fault(Fault::size_overflow, {"4294967296, 4294967296"}, header("4294967296,4294967296"), 4);
  expect_fault(Fault::size_overflow, {}, header("4611686018427387904"), 4);
  expect_fault(Fault::size_overflow, {}, header("9223372036854775807,9223372036854775807,3"), 4);
  expect_fault(Fault::size_mismatch, {"[2]", "8 bytes", "span 4"}, header("2"), 4);
  expect_fault(Fault::size_mismatch, {"0 bytes"}, header("0,9223372036854775807,9223372036854775807"), 4);
  expect_fault(Fault::size_mismatch, {"0 bytes"}, header("9223372036854775807,9223372036854775807,0"), 4);
}

TEST(Safetensors, RefusesBadOffsets) {
  const auto header = [](const std::string& offsets) {
    return R"({"t":{"dtype":"U8","shape":[4],"data_offsets":[)" + offsets + "]}}";
  };
  expect_fault(Fault::bad_offsets, {"pair"}, header(""), 4);
  expect_fault(Fault::bad_offsets, {"pair"}, header("0"), 4);
  expect_fault(Fault::bad_offsets, {"pair"}, header("0,4,4"), 4);
  expect_fault(Fault::bad_offsets, {"-4"}, header("-4,0"), 4);
  expect_fault(Fault::bad_offsets, {"whole number"}, header("0,4.0"), 4);
  expect_fault(Fault::bad_offsets, {"begins at 4, after its end 0"}, header("4,0"), 4);
  expect_fault(Fault::cut_short, {"ends at byte 4", "only 3", "cut short"}, header("0,4"), 3);
  expect_fault(Fault::hole, {"the 18446744073709551611 bytes before tensor 't'"},
               header("18446744073709551611,18446744073709551615"), 4);
  expect_fault(Fault::trailing_bytes, {"1 bytes after the last tensor"}, header("0,4"), 5);
  expect_fault(Fault::hole, {"the 1 bytes before"}, header("1,5"), 5);
  expect_fault(Fault::trailing_bytes, {"7 bytes"}, "{}", 7);
}

TEST(Safetensors, RefusesOverlapsAndHolesBetweenTensors) {
  const auto header = [](int begin, int end) {
    return fmt::format(R"({{"z":{{"dtype":"U8","shape":[4],"data_offsets":[0,4]}},)"
                       R"("a":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}}}})",
                       end - begin, begin, end);
  };
  EXPECT_EQ(SafetensorsFile::parse(file_of(header(4, 8), 8), "m").at("a").bytes[0], std::byte{4});
  expect_fault(Fault::overlap, {"tensor 'a' begins at 3", "ends at 4"}, header(3, 7), 7);
  expect_fault(Fault::overlap, {}, header(0, 4), 4);
  expect_fault(Fault::overlap, {}, header(1, 3), 4);
  expect_fault(Fault::overlap, {}, header(2, 2), 4);  // even an empty tensor lies between others, not inside
  expect_fault(Fault::hole, {"the 1 bytes before tensor 'a'"}, header(5, 8), 8);
}

TEST(Safetensors, NamesInMessagesAreHarmless) {
  expect_fault(Fault::bad_structure, {R"('\x1b[31m\n' is null)"}, R"({"\u001b[31m\n":null})", 0);
}

std::vector<std::byte> bytes_of(std::size_t count, int seed) {
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(i * 7 + seed);
  return bytes;
}

struct Sample {
  std::vector<std::vector<std::byte>> storage{bytes_of(24, 1), bytes_of(3, 2), bytes_of(8, 3), bytes_of(0, 0),
                                              bytes_of(4, 4)};
  std::vector<TensorToStore> tensors{{"weight", StoredType::f32, {2, 3}, storage[0]},
                                     {"mask", StoredType::boolean, {3}, storage[1]},
                                     {"step", StoredType::u64, {}, storage[2]},
                                     {"empty", StoredType::f32, {0, 5}, storage[3]},
                                     {"bias \"quoted\" ü", StoredType::bf16, {2}, storage[4]}};
  StringMap metadata{{"model", "seed"}, {"note", "line\nbreak"}};
};

TEST(SafetensorsWriter, RoundTrips) {
  TemporaryFolder folder;
  const Sample sample;
  write_safetensors(folder / "m.safetensors", sample.tensors, sample.metadata);
  const SafetensorsFile file = SafetensorsFile::load(folder / "m.safetensors");
  EXPECT_EQ(file.metadata(), sample.metadata);
  ASSERT_EQ(file.tensors().size(), sample.tensors.size());
  for (const TensorToStore& tensor : sample.tensors) {
    const StoredTensor& stored = file.at(tensor.name);
    EXPECT_EQ(stored.dtype, tensor.dtype);
    EXPECT_EQ(stored.shape, tensor.shape);
    EXPECT_TRUE(std::ranges::equal(stored.bytes, tensor.bytes)) << tensor.name;
  }
}

TEST(SafetensorsWriter, SameContentSameBytesInWhateverOrder) {
  Sample sample;
  const auto content = encode_safetensors(sample.tensors, sample.metadata);
  std::sort(sample.tensors.begin(), sample.tensors.end(), [](auto& a, auto& b) { return a.name < b.name; });
  EXPECT_EQ(encode_safetensors(sample.tensors, sample.metadata), content);
  std::reverse(sample.tensors.begin(), sample.tensors.end());
  EXPECT_EQ(encode_safetensors(sample.tensors, sample.metadata), content);
  TemporaryFolder folder;
  write_safetensors(folder / "m", sample.tensors, sample.metadata);
  EXPECT_EQ(get(folder / "m"), std::string(reinterpret_cast<const char*>(content.data()), content.size()));
}

TEST(SafetensorsWriter, WritesTheseVeryBytes) {
  const auto data = bytes_of(4, 0);
  const std::vector<TensorToStore> tensors{{"b", StoredType::u8, {2}, std::span(data).first(2)},
                                           {"a", StoredType::u8, {2}, std::span(data).last(2)}};
  const auto content = encode_safetensors(tensors, {{"k", "v"}});
  std::string expected = R"({"__metadata__":{"k":"v"},"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                         R"("b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})";
  while (expected.size() % 8 != 0) expected += ' ';
  expected = std::string(1, static_cast<char>(expected.size())) + std::string(7, '\0') + expected +
             "\x0E\x15" + std::string(1, '\0') + "\x07";
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(content.data()), content.size()), expected);
}

TEST(SafetensorsWriter, EveryTensorIsAlignedInTheFile) {
  const Sample sample;
  const auto content = encode_safetensors(sample.tensors, sample.metadata);
  std::uint64_t length = 0;
  std::memcpy(&length, content.data(), sizeof length);
  EXPECT_EQ(length % 8, 0u);
  const auto header =
      nlohmann::json::parse(std::string(reinterpret_cast<const char*>(content.data()) + 8, length));
  for (const TensorToStore& tensor : sample.tensors)
    EXPECT_EQ(header[tensor.name]["data_offsets"][0].get<std::uint64_t>() % size_of(tensor.dtype), 0u);
}

TEST(SafetensorsWriter, RefusesBadNames) {
  const auto data = bytes_of(1, 0);
  const auto encode = [&](std::vector<std::string> names, const StringMap& metadata = {}) {
    std::vector<TensorToStore> tensors;
    for (const std::string& name : names) tensors.push_back({name, StoredType::u8, {1}, data});
    return [tensors, metadata] { encode_safetensors(tensors, metadata); };
  };
  expect_error(ErrorKind::input, {"''"}, encode({""}));
  expect_error(ErrorKind::input, {"__metadata__"}, encode({"__metadata__"}));
  expect_error(ErrorKind::input, {"two tensors are named 'a'"}, encode({"a", "b", "a"}));
  expect_error(ErrorKind::input, {"not UTF-8"}, encode({"\xFF"}));
  expect_error(ErrorKind::input, {"not UTF-8"}, encode({"a"}, {{"k", "\xC3"}}));
}

TEST(SafetensorsWriter, BytesThatDoNotFitTheShapeAreABug) {
  const auto data = bytes_of(4, 0);
  const std::vector<std::vector<std::int64_t>> shapes{{2}, {}, {-1}, {1, 0}, {std::int64_t{1} << 62, 4}};
  for (const auto& shape : shapes) {
    const TensorToStore tensor{"t", StoredType::f32, shape, data};
    if (shape.empty()) {
      EXPECT_NO_THROW(encode_safetensors({&tensor, 1}));
    } else {
      expect_error(ErrorKind::internal, {"'t'"}, [&] { encode_safetensors({&tensor, 1}); });
    }
  }
}

TEST(SafetensorsWriter, AFullDiskKeepsThePreviousCheckpoint) {
  TemporaryFolder folder;
  Sample sample;
  write_safetensors(folder / "last", sample.tensors, sample.metadata);
  const std::string before = get(folder / "last");
  sample.metadata["model"] = "another";
  for (std::size_t capacity = 0; capacity < before.size(); capacity += 13) {
    test::FaultyFiles files;
    files.capacity = capacity;
    expect_error(ErrorKind::device, {"last", "free space"},
                 [&] { write_safetensors(folder / "last", sample.tensors, sample.metadata, files); });
    EXPECT_EQ(get(folder / "last"), before);
    EXPECT_THAT(folder.names(), testing::ElementsAre("last"));
  }
}

TEST(SafetensorsFile, LoadReportsWhatParseDoes) {
  TemporaryFolder folder;
  const Sample sample;
  const auto content = encode_safetensors(sample.tensors, sample.metadata);
  // Cut anywhere, a file is refused.
  for (std::size_t size = 0; size < content.size(); ++size) {
    put(folder / "cut", std::span(content).first(size));
    expect_error(ErrorKind::input, {"cut'"}, [&] { SafetensorsFile::load(folder / "cut"); });
  }
  auto longer = content;
  longer.push_back(std::byte{0});
  put(folder / "longer", longer);
  expect_error(ErrorKind::input, {"longer'", "1 bytes after the last tensor"},
               [&] { SafetensorsFile::load(folder / "longer"); });
  expect_error(ErrorKind::input, {"absent", "check the path"},
               [&] { SafetensorsFile::load(folder / "absent"); });
  expect_error(ErrorKind::input, {"folder"}, [&] { SafetensorsFile::load(folder.path()); });
  expect_error(ErrorKind::input, {"regular files"}, [&] { SafetensorsFile::load("/dev/zero"); });
}

TEST(SafetensorsFile, AWrongFileOfManyGigabytesIsRefusedAtOnce) {
  TemporaryFolder folder;
  put(folder / "huge", file_of(R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1));
  std::filesystem::resize_file(folder / "huge", std::uintmax_t{1} << 40);  // sparse: takes no room
  expect_error(ErrorKind::input, {"bytes after the last tensor"},
               [&] { SafetensorsFile::load(folder / "huge"); });
}

TEST(SafetensorsFile, MovingKeepsTensors) {
  const Sample sample;
  SafetensorsFile first = SafetensorsFile::parse(encode_safetensors(sample.tensors), "m");
  const SafetensorsFile second = std::move(first);
  EXPECT_TRUE(std::ranges::equal(second.at("weight").bytes, sample.tensors[0].bytes));
}

TEST(StoredType, EveryElementTypeHasAStoredForm) {
  for (const DType type : {DType::f32, DType::bf16, DType::f64, DType::i32, DType::u32, DType::u8})
    EXPECT_EQ(size_of(stored_type(type)), size_of(type));
}

}  // namespace
}  // namespace quern
