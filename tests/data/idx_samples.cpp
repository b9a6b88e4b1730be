#include "tests/data/idx_samples.hpp"

#include <zlib.h>

#include <stdexcept>

namespace quern::test {

std::vector<std::byte> make_idx(std::initializer_list<std::uint32_t> extents,
                                std::span<const std::uint8_t> values, std::uint8_t type) {
  std::vector<std::byte> file{std::byte{0}, std::byte{0}, std::byte{type},
                              static_cast<std::byte>(extents.size())};
  for (const std::uint32_t extent : extents)
    for (int shift = 24; shift >= 0; shift -= 8) file.push_back(static_cast<std::byte>(extent >> shift));
  for (const std::uint8_t value : values) file.push_back(static_cast<std::byte>(value));
  return file;
}

std::vector<std::uint8_t> counting(std::size_t count) {
  std::vector<std::uint8_t> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<std::uint8_t>(i);
  return values;
}

std::vector<std::byte> gzip(std::span<const std::byte> content, int level) {
  z_stream stream{};
  if (deflateInit2(&stream, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw std::runtime_error("deflateInit2 failed");
  std::vector<std::byte> file(deflateBound(&stream, content.size()));
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(file.data());
  stream.avail_out = static_cast<uInt>(file.size());
  const int result = deflate(&stream, Z_FINISH);
  file.resize(stream.total_out);
  deflateEnd(&stream);
  if (result != Z_STREAM_END) throw std::runtime_error("deflate failed");
  return file;
}

}  // namespace quern::test
