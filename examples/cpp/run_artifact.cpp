// Runs a Lepton artifact without Python: loads the code, binds the weights, runs the golden input that the artifact
// carries and compares with its golden output.
//
//   run_artifact MODEL.lepton [RUNS]
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "artifact.h"

namespace {

using lepton::TensorSpec;
using tvm::ffi::Any;
using tvm::ffi::AnyView;
using tvm::ffi::Function;
using tvm::ffi::Module;
using tvm::ffi::String;
using tvm::ffi::Tensor;

constexpr double kTolerance = 1e-4;

// Code for instructions that the processor lacks would end in SIGILL; this ends in a message.
void check_processor(const tvm::ffi::json::Object& manifest) {
  std::ifstream file("/proc/cpuinfo");
  std::stringstream info;
  info << file.rdbuf();
  if (info.str().empty()) return;
  auto target = manifest[String("target")].cast<tvm::ffi::json::Object>();
  for (const Any& feature : target[String("features")].cast<tvm::ffi::json::Array>()) {
    std::string name = lepton::text(feature) == "neon" ? "asimd" : lepton::text(feature);
    if (info.str().find(" " + name) == std::string::npos) {
      throw std::runtime_error("the code uses " + name + ", which this processor lacks");
    }
  }
}

// dlopen wants a file; the library is written to a private one, which goes away once it is loaded.
Module load_library(std::string_view library) {
  const char* folder = std::getenv("TMPDIR");
  std::string path = std::string(folder ? folder : "/tmp") + "/lepton-XXXXXX.so";
  int file = mkstemps(path.data(), 3);
  if (file < 0) throw std::runtime_error("cannot write to " + path);
  bool written = write(file, library.data(), library.size()) == static_cast<ssize_t>(library.size());
  close(file);
  if (!written) throw std::runtime_error("no space left for " + path);
  Module module = Module::LoadFromFile(path);
  unlink(path.c_str());
  return module;
}

// A virtual machine with the weights bound as the last parameters of `main`. One call at a time may use it; threads
// take a machine each over the same module and weights.
Function make_runner(const Module& library, const std::vector<Tensor>& weights, Any* machine) {
  *machine = library->GetFunction("vm_load_executable").value()();
  auto vm = machine->cast<Module>();
  constexpr int kCpu = 1, kPooledAllocator = 2;
  vm->GetFunction("vm_initialization").value()(kCpu, 0, kPooledAllocator);
  std::vector<AnyView> args = {"main", "run", true};
  args.insert(args.end(), weights.begin(), weights.end());
  Any ignored;
  vm->GetFunction("save_function").value().CallPacked(args.data(), static_cast<int32_t>(args.size()), &ignored);
  return vm->GetFunction("run").value();
}

double value_at(const Tensor& tensor, int64_t i) {
  DLDataType type = tensor.dtype();
  const void* data = tensor.data_ptr();
  if (type.code == kDLFloat && type.bits == 32) return static_cast<const float*>(data)[i];
  if (type.code == kDLFloat && type.bits == 64) return static_cast<const double*>(data)[i];
  if (type.code == kDLInt && type.bits == 64) return static_cast<double>(static_cast<const int64_t*>(data)[i]);
  if (type.code == kDLInt && type.bits == 32) return static_cast<const int32_t*>(data)[i];
  if (type.bits == 8) return static_cast<const uint8_t*>(data)[i];
  throw std::runtime_error("this example does not compare elements of this type");
}

// The largest absolute difference over the largest absolute expected value.
double relative_error(const Tensor& actual, const Tensor& expected) {
  double difference = 0, largest = 1e-30;
  if (actual.numel() != expected.numel()) return INFINITY;
  for (int64_t i = 0; i < expected.numel(); ++i) {
    double gap = std::abs(value_at(actual, i) - value_at(expected, i));
    difference = std::isnan(gap) ? INFINITY : std::max(difference, gap);
    largest = std::max(largest, std::abs(value_at(expected, i)));
  }
  return difference / largest;
}

int run(const std::string& path, int runs) {
  lepton::Archive archive(path);
  std::string_view json = archive.at("manifest.json");
  auto manifest = tvm::ffi::json::Parse(String(json.data(), json.size())).cast<tvm::ffi::json::Object>();
  check_processor(manifest);

  lepton::Tensors stored(archive.at("weights.safetensors"));
  std::vector<Tensor> weights;
  for (const TensorSpec& spec : lepton::parse_specs(manifest, "weights")) {
    weights.push_back(stored.get(spec.name, spec.dtype));
  }
  Module library = load_library(archive.at("lib.so"));
  Any machine;
  Function model = make_runner(library, weights, &machine);

  lepton::Tensors golden(archive.at("golden.safetensors"));
  std::vector<Tensor> inputs;
  for (const TensorSpec& spec : lepton::parse_specs(manifest, "inputs")) {
    inputs.push_back(golden.get("input:" + spec.name, spec.dtype));
  }
  std::vector<AnyView> args(inputs.begin(), inputs.end());
  Any result;
  double best = INFINITY;
  for (int i = 0; i < std::max(runs, 1); ++i) {
    auto begin = std::chrono::steady_clock::now();
    model.CallPacked(args.data(), static_cast<int32_t>(args.size()), &result);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }

  auto outputs = result.cast<tvm::ffi::Array<Tensor>>();
  bool right = true;
  size_t index = 0;
  for (const TensorSpec& spec : lepton::parse_specs(manifest, "outputs")) {
    double error = relative_error(outputs[index++], golden.get("output:" + spec.name, spec.dtype));
    std::printf("%s: relative error %.3g\n", spec.name.c_str(), error);
    right = right && error <= kTolerance;
  }
  std::printf("%s, fastest of %d runs: %.3f ms\n", right ? "as expected" : "NOT as expected", std::max(runs, 1),
              best * 1e3);
  return right ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: run_artifact MODEL.lepton [RUNS]\n");
    return 2;
  }
  // TVM's defaults pin this thread to the first processors and use half of them.
  setenv("TVM_BIND_THREADS", "0", 0);
  setenv("TVM_NUM_THREADS", std::to_string(std::max(1u, std::thread::hardware_concurrency())).c_str(), 0);
  try {
    return run(argv[1], argc > 2 ? std::atoi(argv[2]) : 1);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s: %s\n", argv[1], error.what());
    return 1;
  }
}
