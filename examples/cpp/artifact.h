// Reading a Lepton artifact: a zip file of stored entries, each aligned to 64 bytes, used in place.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/json.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace lepton {

namespace ffi = tvm::ffi;

// A named tensor of the manifest. Symbolic dimensions, which JSON holds as strings, are -1.
struct TensorSpec {
  std::string name;
  DLDataType dtype;
  std::vector<int64_t> shape;
};

template <typename T>
T read_at(std::string_view bytes, size_t offset) {
  T value;
  if (offset + sizeof(T) > bytes.size()) throw std::runtime_error("the artifact is truncated");
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

// The file, mapped privately: pages are read when touched and never written back.
class Archive {
 public:
  explicit Archive(const std::string& path) {
    int file = open(path.c_str(), O_RDONLY);
    struct stat status;
    if (file < 0 || fstat(file, &status) != 0) throw std::runtime_error("cannot open " + path);
    size_ = static_cast<size_t>(status.st_size);
    void* data = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    close(file);
    if (data == MAP_FAILED) throw std::runtime_error("cannot map " + path);
    data_ = static_cast<char*>(data);
    read_directory();
  }
  ~Archive() { munmap(data_, size_); }
  Archive(const Archive&) = delete;
  Archive& operator=(const Archive&) = delete;

  std::string_view at(const std::string& name) const {
    auto found = entries_.find(name);
    if (found == entries_.end()) throw std::runtime_error("the artifact has no entry " + name);
    return found->second;
  }

 private:
  void read_directory() {
    std::string_view bytes(data_, size_);
    size_t end = bytes.rfind(std::string_view("PK\5\6", 4));
    if (end == std::string_view::npos) throw std::runtime_error("not a Lepton artifact, or truncated");
    auto count = read_at<uint16_t>(bytes, end + 10);
    size_t at = read_at<uint32_t>(bytes, end + 16);
    if (count == 0xFFFF || at == 0xFFFFFFFF) throw std::runtime_error("artifacts over 4 GB need a zip64 reader");
    for (int i = 0; i < count; ++i) {
      size_t size = read_at<uint32_t>(bytes, at + 24);
      size_t name_size = read_at<uint16_t>(bytes, at + 28);
      size_t header = read_at<uint32_t>(bytes, at + 42);
      std::string name(bytes.substr(at + 46, name_size));
      size_t start = header + 30 + read_at<uint16_t>(bytes, header + 26) + read_at<uint16_t>(bytes, header + 28);
      if (start + size > size_) throw std::runtime_error("the artifact is truncated");
      entries_[name] = bytes.substr(start, size);
      at += 46 + name_size + read_at<uint16_t>(bytes, at + 30) + read_at<uint16_t>(bytes, at + 32);
    }
  }

  char* data_ = nullptr;
  size_t size_ = 0;
  std::map<std::string, std::string_view> entries_;
};

inline std::string text(const ffi::Any& value) { return value.cast<ffi::String>(); }

inline DLDataType parse_dtype(const std::string& name) {
  static const std::map<std::string, DLDataType> known = {
      {"bool", {kDLBool, 8, 1}}, {"i8", {kDLInt, 8, 1}},    {"i16", {kDLInt, 16, 1}},  {"i32", {kDLInt, 32, 1}},
      {"i64", {kDLInt, 64, 1}},  {"u8", {kDLUInt, 8, 1}},   {"u16", {kDLUInt, 16, 1}}, {"u32", {kDLUInt, 32, 1}},
      {"u64", {kDLUInt, 64, 1}}, {"f16", {kDLFloat, 16, 1}}, {"f32", {kDLFloat, 32, 1}}, {"f64", {kDLFloat, 64, 1}},
      {"bf16", {kDLBfloat, 16, 1}}};
  auto found = known.find(name);
  if (found == known.end()) throw std::runtime_error("this example does not handle elements of " + name);
  return found->second;
}

// Strings, sequences and image files are the work of Lepton's Python runtime, which the program would call.
inline void check_needs_no_host(const ffi::json::Object& manifest) {
  if (!manifest[ffi::String("host")].cast<ffi::json::Array>().empty()) {
    throw std::runtime_error("the model has operations that run on the host (leptonc inspect lists them); "
                             "they need Lepton's Python runtime");
  }
}

inline std::vector<TensorSpec> parse_specs(const ffi::json::Object& manifest, const char* key) {
  check_needs_no_host(manifest);
  std::vector<TensorSpec> specs;
  for (const ffi::Any& item : manifest[ffi::String(key)].cast<ffi::json::Array>()) {
    auto object = item.cast<ffi::json::Object>();
    TensorSpec spec{text(object[ffi::String("name")]), parse_dtype(text(object[ffi::String("dtype")])), {}};
    for (const ffi::Any& dim : object[ffi::String("shape")].cast<ffi::json::Array>()) {
      spec.shape.push_back(dim.try_cast<int64_t>().value_or(-1));
    }
    specs.push_back(spec);
  }
  return specs;
}

// Tensors of a safetensors file, over the file's own memory.
class Tensors {
 public:
  explicit Tensors(std::string_view bytes) {
    auto header_size = read_at<uint64_t>(bytes, 0);
    header_ = ffi::json::Parse(ffi::String(bytes.data() + 8, header_size)).cast<ffi::json::Object>();
    body_ = bytes.substr(8 + header_size);
  }

  ffi::Tensor get(const std::string& key, DLDataType dtype) const {
    auto entry = header_[ffi::String(key)].cast<ffi::json::Object>();
    std::vector<int64_t> shape;
    for (const ffi::Any& dim : entry[ffi::String("shape")].cast<ffi::json::Array>()) {
      shape.push_back(dim.cast<int64_t>());
    }
    auto offsets = entry[ffi::String("data_offsets")].cast<ffi::json::Array>();
    auto start = static_cast<size_t>(offsets[0].cast<int64_t>());
    if (start > body_.size()) throw std::runtime_error("the artifact is truncated");
    return ffi::Tensor::FromNDAlloc(InPlace{const_cast<char*>(body_.data() + start)}, ffi::ShapeView(shape.data(), shape.size()),
                                    dtype, {kDLCPU, 0});
  }

 private:
  struct InPlace {
    char* data;
    void AllocData(DLTensor* tensor) { tensor->data = data; }
    void FreeData(DLTensor*) {}
  };

  ffi::json::Object header_;
  std::string_view body_;
};

}  // namespace lepton
