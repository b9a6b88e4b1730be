/// Writes a target's seeds as files, one each, into the folder named: the first corpus of a libFuzzer run.

#include <filesystem>
#include <fstream>

#include "tests/fuzz/fuzz_target.hpp"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  std::filesystem::create_directories(argv[1]);
  int number = 0;
  for (const quern::fuzz::Bytes& seed : quern::fuzz::seeds()) {
    std::ofstream file(std::filesystem::path(argv[1]) / fmt::format("seed-{:02}", number++),
                       std::ios::binary);
    file.write(reinterpret_cast<const char*>(seed.data()), static_cast<std::streamsize>(seed.size()));
    if (!file.flush()) return 3;
  }
  return 0;
}
