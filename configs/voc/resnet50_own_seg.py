# Your own images and a table of their labels: labels.csv with the columns image, label (a;b;c) and split (train, val).
# With masks='masks', a folder of <image>.png, the stages are measured; without, they are not.
_base_ = './resnet50_voc12_seg.py'
data = dict(_delete_=True, type='LabelledImages', root='data/own', split='train', labels_file='labels.csv')
