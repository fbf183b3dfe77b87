# From scratch on some thousand photographs: scratch_30e.py at the same rate an image (0.1 for 128), for 200 epochs. The
# cosine ends with max_epochs.
_base_ = './scratch_30e.py'
optim_wrapper = dict(optimizer=dict(lr=0.025))
train_cfg = dict(max_epochs=200, val_interval=10)
auto_scale_lr = dict(base_batch_size=32)
