#pragma once

/// An H100 as cuDNN describes devices to itself (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION). With it cuDNN
/// chooses engines and makes plans without a GPU; only running them needs one. Numbers: CUDA C++ Programming
/// Guide, "Technical Specifications per Compute Capability", and the card's data sheet.

namespace quern::test {

inline constexpr const char* kDescribedH100 = R"({
  "deviceName": "NVIDIA H100 80GB HBM3", "deviceVer": 900, "driverVer": 13000, "cudaDeviceId": 0,
  "pciDeviceId": 0, "isTccDriver": 0, "supportCoopLaunch": 1, "totalGlobalMem": 85000000000,
  "multiProcessorCount": 132, "smClockRateKHz": 1980000, "memClockRateKHz": 2619000, "l2CacheSize": 52428800,
  "warpSize": 32, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "maxCtasPerSM": 32,
  "regsPerBlock": 65536, "maxRegistersPerSM": 65536, "maxSharedMemoryPerBlock": 49152,
  "maxSharedMemoryPerBlockOptin": 232448, "reservedSharedMemoryPerBlock": 1024,
  "maxBlockSize": [1024, 1024, 64], "maxGridSize": [2147483647, 65535, 65535]})";

}  // namespace quern::test
