// Functions that run on their own stacks and can be suspended.
#pragma once

#include <cstddef>

namespace metaspan::emulator {

/// A function on its own stack. The caller resumes it until it is done; pause(), which the function
/// calls, returns to the caller.
class Fibre {
 public:
  Fibre();
  ~Fibre();
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;

  /// Prepares a call of `entry(argument)`, which the first resume() starts.
  void start(void (*entry)(void*), void* argument);
  void resume();
  void pause();
  bool is_done() const { return done_; }

 private:
  static void enter(Fibre* fibre);
  void leave(bool for_good);

  struct Context;  // of the processor
  unsigned char* stack_;
  Context* fibre_;
  Context* caller_;
  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
  bool done_ = true;
  // State of AddressSanitizer: its fake stacks, and the bounds of the caller's stack.
  void* own_locals_ = nullptr;
  void* caller_locals_ = nullptr;
  const void* caller_bottom_ = nullptr;
  std::size_t caller_bytes_ = 0;
};

}  // namespace metaspan::emulator
