// A function that runs on a stack of its own and can wait in the middle.
#pragma once

#include <cstddef>

namespace metaspan::emulator {

/// One fibre. Its caller resumes it until it is done; within it, pause() returns to the caller.
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
  // What AddressSanitizer wants to know: its own stack of locals, and the bounds of the caller's.
  void* own_locals_ = nullptr;
  void* caller_locals_ = nullptr;
  const void* caller_bottom_ = nullptr;
  std::size_t caller_bytes_ = 0;
};

}  // namespace metaspan::emulator
