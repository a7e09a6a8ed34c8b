// Asynchronous copies to shared memory: each happens as late as it may, when its thread waits for it.
#pragma once

#include "cuda_runtime_api.h"

inline void __pipeline_memcpy_async(void* to, const void* from, std::size_t bytes) {
  if (reinterpret_cast<uintptr_t>(to) % bytes != 0 || reinterpret_cast<uintptr_t>(from) % bytes != 0) {
    emulator::fail("an asynchronous copy is not aligned");
  }
  emulator::self().copies.push_back({to, from, bytes, false});
}

inline void __pipeline_commit() {
  for (emulator::Copy& copy : emulator::self().copies) copy.committed = true;
}

inline void __pipeline_wait_prior(std::size_t groups) {
  if (groups != 0) emulator::fail("only a wait for all copies is known");
  for (const emulator::Copy& copy : emulator::self().copies) {
    if (!copy.committed) emulator::fail("a copy is waited for that was not committed");
    std::memcpy(copy.to, copy.from, copy.bytes);
  }
  emulator::self().copies.clear();
}
