// The structures of DLPack, the standard by which array libraries lend each other memory
// (https://dmlc.github.io/dlpack). Sizes and order of the members are fixed by the standard.
#pragma once

#include <cstdint>

namespace metaspan::dlpack {

/// Kinds of devices; other numbers are not used here.
enum DeviceType : std::int32_t { kCpu = 1, kCuda = 2, kCudaManaged = 13 };

struct Device {
  std::int32_t type;
  std::int32_t ordinal;
};

/// Kinds of numbers.
enum NumberCode : std::uint8_t {
  kInt = 0,
  kUnsigned = 1,
  kFloat = 2,
  kOpaque = 3,
  kBfloat = 4,
  kComplex = 5,
  kBool = 6
};

struct NumberType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};

struct Tensor {
  void* data;
  Device device;
  std::int32_t axes;
  NumberType type;
  std::int64_t* shape;
  std::int64_t* strides;  // in numbers; null for C order
  std::uint64_t byte_offset;
};

/// A tensor that is lent. The borrower calls `deleter` once when it no longer needs the memory.
struct Managed {
  Tensor tensor;
  void* context;
  void (*deleter)(Managed*);
};

struct Version {
  std::uint32_t major;
  std::uint32_t minor;
};

inline constexpr std::uint64_t kReadOnly = 1;  // a flag of ManagedVersioned

/// As Managed, for DLPack 1.0 and later.
struct ManagedVersioned {
  Version version;
  void* context;
  void (*deleter)(ManagedVersioned*);
  std::uint64_t flags;
  Tensor tensor;
};

}  // namespace metaspan::dlpack
