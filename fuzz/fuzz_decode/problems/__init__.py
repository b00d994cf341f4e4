"""From a case to tensors: values, strided and guarded buffers, poison, copies to a device."""
